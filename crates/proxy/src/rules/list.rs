//! `add-acl`, `del-acl`, `set-map`, `del-map`: rules that change lists while traffic runs.

use std::cell::Cell;

use telamon_config::Args;

use crate::expr::{FormatUse, LogFormat, ParseScope};
use crate::stream::{Context, Direction, Stream};

/// A change of a list.
#[derive(Debug)]
pub struct ListEdit {
    /// The file's name, or `#N`. A list that nothing has loaded is passed over.
    pub list: Box<str>,
    pub key: LogFormat,
    pub operation: ListOperation,
}

#[derive(Debug)]
pub enum ListOperation {
    /// `add-acl`, unless it is there.
    Add,
    /// `del-acl` and `del-map`.
    Delete,
    /// `set-map`: replaces the value, or adds the entry.
    Set(LogFormat),
}

impl ListEdit {
    /// Reads what follows `add-acl(…)`, `del-acl(…)`, `set-map(…)` or `del-map(…)`, and what stands in the keyword.
    pub(super) fn read(args: &mut Args<'_>, scope: &mut ParseScope<'_>) -> Option<Self> {
        let keyword = args.keyword();
        let (list, _) = super::in_parentheses(args)?;
        let key = LogFormat::parse(args, scope, FormatUse::Http)?;
        let operation = match keyword.text.split('(').next() {
            Some("add-acl") => ListOperation::Add,
            Some("set-map") => ListOperation::Set(LogFormat::parse(args, scope, FormatUse::Http)?),
            _ => ListOperation::Delete,
        };
        Some(Self { list: list.into(), key, operation })
    }

    /// Changes the list. An entry that its users cannot read is not added.
    pub(crate) fn apply(&self, stream: &Stream, direction: Direction) {
        let wants_more = Cell::new(false);
        let cx = Context::for_stream(stream, direction, &wants_more);
        let Some(list) = cx.model.lists.find(&self.list) else { return };
        let mut key = Vec::new();
        self.key.render(&cx, &mut key);
        // What cannot be read as an entry of the list changes nothing, as with the socket's commands.
        match &self.operation {
            ListOperation::Add => {
                if !list.entries(None).iter().any(|entry| *entry.key == *key) {
                    let _ = list.add(&[(&key, None)], None);
                }
            }
            ListOperation::Delete => {
                let _ = list.delete(&key);
            }
            ListOperation::Set(value) => {
                let mut text = Vec::new();
                value.render(&cx, &mut text);
                if let Ok(false) = list.set(&key, &text) {
                    let _ = list.add(&[(&key, Some(&text))], None);
                }
            }
        }
    }
}
