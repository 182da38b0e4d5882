//! `userlist` sections.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock};

use telamon_config::{
    Checker, ConfigErrorKind, Diagnostics, Environment, Keyword, Location, Section, Sections, Table,
};

use crate::model::{Password, User, Userlist};

/// One section while it is read.
#[derive(Default)]
pub(super) struct Draft {
    users: HashMap<Box<str>, (User, Location)>,
    groups: HashMap<Box<str>, Location>,
    /// Who belongs to what, and where it says so.
    members: Vec<(Box<str>, Box<str>, Location)>,
}

type K = Keyword<Draft>;

pub(super) static TABLE: LazyLock<Table<Draft>> =
    LazyLock::new(|| Table::new("keyword", &[KEYWORDS]));

const KEYWORDS: &[K] = &[
    K::works(
        "group",
        Sections::USERLIST,
        "group <name> [users <user>,...]",
        "a group of users",
        |list, args| {
            let Some(name) = args.next("the name of a group") else { return };
            if let Some(first) = list.groups.insert(name.text.into(), name.at) {
                let (what, text) = ("group", name.text.to_owned());
                args.fail(name.at, ConfigErrorKind::Duplicate { what, name: text, first });
            }
            if args.accept("users")
                && let Some(users) = args.next("names of users")
            {
                for user in users.text.split(',') {
                    list.members.push((user.into(), name.text.into(), users.at));
                }
            }
        },
    ),
    K::works(
        "user",
        Sections::USERLIST,
        "user <name> { password | insecure-password } <password> [groups <group>,...]",
        "a user",
        |list, args| {
            let Some(name) = args.next("the name of a user") else { return };
            let mut password = Password::Clear(Box::default());
            while !args.is_empty() {
                if args.accept("password") {
                    let Some(hash) = args.next("a password's hash") else { return };
                    if let Some(why) = crate::expr::unsupported_crypt(hash.text) {
                        args.bad(hash, "password", why);
                    }
                    password = Password::Crypt(hash.text.into());
                } else if args.accept("insecure-password") {
                    let Some(text) = args.next("a password") else { return };
                    password = Password::Clear(text.bytes.into());
                } else if args.accept("groups") {
                    let Some(groups) = args.next("names of groups") else { return };
                    for group in groups.text.split(',') {
                        list.members.push((name.text.into(), group.into(), groups.at));
                    }
                } else {
                    return args.end();
                }
            }
            let user = User { password, groups: Vec::new() };
            if let Some((_, first)) = list.users.get(name.text) {
                let (what, text, first) = ("user", name.text.to_owned(), *first);
                args.fail(name.at, ConfigErrorKind::Duplicate { what, name: text, first });
            } else {
                list.users.insert(name.text.into(), (user, name.at));
            }
        },
    ),
];

/// Reads all user lists.
pub(super) fn read(
    sections: &[Section],
    environment: &Environment,
    diagnostics: &mut Diagnostics,
) -> HashMap<Box<str>, Arc<Userlist>> {
    let mut lists: HashMap<Box<str>, Arc<Userlist>> = HashMap::new();
    let mut places: HashMap<&str, Location> = HashMap::new();
    for section in sections.iter().filter(|section| section.spec.bit == Sections::USERLIST) {
        let Some(name) = section.name() else { continue };
        if let Some(first) = places.insert(name.text, name.at) {
            let (what, text) = ("userlist", name.text.to_owned());
            diagnostics.error(name.at, ConfigErrorKind::Duplicate { what, name: text, first });
        }
        let mut draft = Draft::default();
        for line in section.lines() {
            Checker::new(environment, diagnostics).dispatch(&TABLE, line, &mut draft);
        }
        for (user, group, at) in std::mem::take(&mut draft.members) {
            if !draft.groups.contains_key(&group) {
                let known = draft.groups.keys().map(|name| &**name);
                diagnostics.error(at, ConfigErrorKind::undefined("group", &group, known));
            }
            match draft.users.get_mut(&user) {
                Some((user, _)) => user.groups.push(group),
                None => {
                    let known = draft.users.keys().map(|name| &**name);
                    diagnostics.error(at, ConfigErrorKind::undefined("user", &user, known));
                }
            }
        }
        let users =
            draft.users.into_iter().map(|(name, (user, _))| (name.into_boxed_bytes(), user));
        let list = Userlist {
            name: name.text.into(),
            users: users.collect(),
            groups: draft.groups.into_keys().collect(),
        };
        lists.insert(name.text.into(), Arc::new(list));
    }
    lists
}
