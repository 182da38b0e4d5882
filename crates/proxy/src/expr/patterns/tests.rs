use super::*;

use proptest::prelude::*;

/// Compares `value` with the patterns, which are separated by spaces; the entry that a map would
/// take.
#[track_caller]
fn check(method: Match, patterns: &str, value: Value<'_>, expected: Option<usize>) {
    for ignore_case in [false, true] {
        let built = Patterns::build(method, ignore_case, patterns.split(' ').map(str::as_bytes))
            .expect("patterns");
        let found = built.find(&value, Want::Entry);
        assert_eq!(found, expected, "ignore case: {ignore_case}");
        assert_eq!(built.find(&value, Want::Any).is_some(), expected.is_some());
    }
}

#[test]
fn texts_match() {
    let text = |text: &'static str| Value::str(text.as_bytes());
    check(Match::Str, "a b a", text("a"), Some(0));
    check(Match::Str, "a b", text("ab"), None);
    check(Match::Beg, "/ /a /a/b", text("/a/c"), Some(1));
    check(Match::Beg, "/x /a/b /a", text("/a/b"), Some(1));
    check(Match::Beg, "/x", text("/"), None);
    check(Match::End, ".png .jpg g", text("x.jpg"), Some(1));
    check(Match::End, ".png", text("png"), None);
    check(Match::Sub, "zz lo wor", text("hello world"), Some(1));
    check(Match::Sub, "zz", text("hello"), None);
    check(Match::Reg, "^b ^a a$", text("aba"), Some(1));
    check(Match::Reg, "^b ^c ^d ^e a$", text("aba"), Some(4));
    check(Match::Len, "3 5:7", text("hello"), Some(1));
    check(Match::Bin, "00 6869", text("hi"), Some(1));
}

#[test]
fn words_match_as_the_manual_says() {
    let logo = || Value::str(b"/images/png/logo/32x32.png");
    for word in ["/images", "/images/png", "images/png", "/png/logo", "logo/32x32.png", "32x32.png"]
    {
        check(Match::Dir, word, logo(), Some(0));
    }
    for word in ["png/", "32x32", "image", "/"] {
        let expected = (word == "png/").then_some(0);
        check(Match::Dir, word, logo(), expected);
    }
    let url = || Value::str(b"http://www1.dc-eu.example.com:80/blah");
    for word in ["http", "www1", ".www1", "dc-eu", "com", "80", "dc-eu.example", "blah", ":www1:"] {
        check(Match::Dom, word, url(), Some(0));
    }
    for word in ["eu", "dc", "example.co"] {
        check(Match::Dom, word, url(), None);
    }
    check(Match::Dom, "x dc-eu www1", url(), Some(1));
}

#[test]
fn numbers_and_addresses_match() {
    check(Match::Int, "1 5: :0", Value::Int(7), Some(1));
    check(Match::Int, "1 5: :0", Value::Int(-7), Some(2));
    check(Match::Int, "1 5: :0", Value::Bool(true), Some(0));
    assert_eq!(parse_version_range(b"3:3.1"), Some((3 << 16, 3 << 16 | 1)));
    assert_eq!(parse_range(b"3.1"), None);
    let ip = |text: &str| Value::Addr(text.parse().expect("an address"));
    check(Match::Ip, "10.0.0.0/8 10.1.0.0/16 ::1", ip("10.1.2.3"), Some(1));
    check(Match::Ip, "10.0.0.0/8 10.1.0.0/16 ::1", ip("10.2.2.3"), Some(0));
    check(Match::Ip, "10.0.0.0/8 10.1.0.0/16 ::1", ip("::1"), Some(2));
    check(Match::Ip, "10.0.0.0/8", ip("::ffff:10.0.0.1"), Some(0));
    check(Match::Ip, "10.0.0.1/255.0.0.255", ip("10.5.5.1"), Some(0));
    check(Match::Ip, "127.0.0.1/8 ::1", Value::str(b"127.0.0.2"), Some(0));
}

#[test]
fn case_is_ignored_where_asked() {
    for method in
        [Match::Str, Match::Beg, Match::End, Match::Sub, Match::Dir, Match::Dom, Match::Reg]
    {
        let patterns = |ignore_case| {
            Patterns::build(method, ignore_case, [b"HeLLo".as_slice()]).expect("patterns")
        };
        let subject = Value::str(b"hEllo");
        assert!(patterns(true).find(&subject, Want::Any).is_some(), "{method:?}");
        assert!(patterns(false).find(&subject, Want::Any).is_none(), "{method:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn structures_agree_with_a_search_one_by_one(
        texts in prop::collection::vec("[abA/.]{0,4}", 0..12),
        subject in "[abA/.]{0,8}",
        ignore_case: bool,
    ) {
        let fold = |text: &str| if ignore_case { text.to_lowercase() } else { text.to_owned() };
        let subject_folded = fold(&subject);
        let holds = |method: Match, text: &str| {
            let text = fold(text);
            match method {
                Match::Str => subject_folded == text,
                Match::Beg => subject_folded.starts_with(&text),
                Match::End => subject_folded.ends_with(&text),
                _ => subject_folded.contains(&text),
            }
        };
        for method in [Match::Str, Match::Beg, Match::End, Match::Sub] {
            let built = Patterns::build(method, ignore_case, texts.iter().map(String::as_bytes))
                .expect("patterns");
            let found = built.find(&Value::str(subject.as_bytes()), Want::Entry);
            let mut matching = texts.iter().enumerate().filter(|(_, text)| holds(method, text));
            let expected = if method == Match::Beg {
                matching.rev().max_by_key(|(_, text)| text.len())
            } else {
                matching.next()
            };
            prop_assert_eq!(found, expected.map(|(entry, _)| entry), "{:?}", method);
        }
    }

    #[test]
    fn no_pattern_makes_it_panic(pattern in prop::collection::vec(any::<u8>(), 0..20), subject in prop::collection::vec(any::<u8>(), 0..40)) {
        for (_, method) in Match::WORDS {
            if let Ok(built) = Patterns::build(method, true, [pattern.as_slice()]) {
                built.find(&Value::str(&subject), Want::Entry);
                built.find(&Value::bin(&subject), Want::Any);
            }
        }
    }
}
