//! The grammar, point by point. Rows marked "oracle" were compared with HAProxy 2.6.12.

use super::*;
use crate::Style;

fn environment() -> Environment {
    Environment::new().with_variables([
        ("A", "one"),
        ("WORDS", "x  y z"),
        ("SPACED", " x y "),
        ("EMPTY", ""),
    ])
}

fn read_text(text: &[u8]) -> (Source, Vec<Section>, Diagnostics) {
    let mut source = Source::new();
    source.add("web.cfg", text.to_vec());
    let mut diagnostics = Diagnostics::new();
    let sections = read(&source, SectionSpec::HAPROXY, &mut environment(), &mut diagnostics);
    (source, sections, diagnostics)
}

/// The words of each line of `global`, in brackets.
#[track_caller]
fn check(line: &str, expected: &str) {
    let (source, sections, mut diagnostics) = read_text(format!("global\n{line}\n").as_bytes());
    assert!(!diagnostics.has_errors(), "{}", diagnostics.render(&source, Style::Plain));
    assert_eq!(words(&sections), expected, "{line}");
}

fn words(sections: &[Section]) -> String {
    let lines = sections.iter().flat_map(Section::lines).map(|line| {
        line.tokens().map(|token| format!("[{}]", token.bytes.escape_ascii())).collect::<String>()
    });
    lines.collect::<Vec<_>>().join("\n")
}

/// The first mistake: `line:column+len title`.
#[track_caller]
fn check_error(text: &str, expected: &str) {
    let (_, _, mut diagnostics) = read_text(text.as_bytes());
    diagnostics.sort();
    let told: Vec<_> = diagnostics
        .iter()
        .map(|error| {
            let at = error.at;
            format!("{}:{}+{} {}", at.line, at.column, at.len, error.kind.explain().title)
        })
        .collect();
    assert_eq!(told.join("\n"), expected, "{text}");
}

#[test]
fn words_and_comments() {
    check("a b\tc", "[a][b][c]");
    check("  a   b  ", "[a][b]");
    check("a#b c", "[a]");
    check("a b # c", "[a][b]");
    check("a\\#b", "[a#b]");
    check("a '#' \"#\"", "[a][#][#]");
    check("a\x0bb\x0cc", "[a][b][c]");
    check("a b\r", "[a][b]");
    check("a \u{e9}", "[a][\\xc3\\xa9]");
    check("a \\", "[a][\\\\]");
}

#[test]
fn escapes() {
    check(r"a b\ c", "[a][b c]");
    check(r"a \\ \' \n\r\t", r#"[a][\\][\'][\n\r\t]"#);
    check(r#"a \" "\"" '"'"#, r#"[a][\"][\"][\"]"#);
    check(r"a \x41\x0a\xff", r"[a][A\n\xff]");
    // Oracle: a backslash before anything else stays.
    check(r"a \d \1 \.", r"[a][\\d][\\1][\\.]");
    check(r#"a \$ "\$A""#, r"[a][\\$][$A]");
    check(r"a '\n\x41'", r"[a][\\n\\x41]");
    check(r#"a "\n\x41\ b""#, r"[a][\nA b]");
}

#[test]
fn quotes() {
    check("a 'b c' \"d e\"", "[a][b c][d e]");
    check("a b'c d'e\"f g\"", "[a][bc def g]");
    check("a \"it's\" '\"'", r#"[a][it\'s][\"]"#);
    // An empty word at the end is none; in the middle it stays.
    check("a \"\" b", "[a][][b]");
    check("a b \"\" ''", "[a][b]");
}

#[test]
fn variables() {
    check("a \"$A\" \"${A}\" \"$A-x\"", "[a][one][one][one-x]");
    check("a $A '$A' ${A}", "[a][$A][$A][${A}]");
    check("a \"${NO-default value}\" \"${EMPTY-x}\" b", "[a][default value][][b]");
    check("a \"$NO\"", "[a]");
    check("a \"${WORDS}\"", "[a][x  y z]");
    check("a \"${WORDS[*]}\"", "[a][x][y][z]");
    check("a p\"${WORDS[*]}\"s", "[a][px][y][zs]");
    check("a \"${NO[*]-d e}\"", "[a][d][e]");
    check("a \"${SPACED[*]}\" b", "[a][][x][y][][b]");
    check("a \"${EMPTY[*]}\"", "[a]");
    check("\n a \"${.LINE}\" \"$.FILE\" \"${.SECTION}\"", "[a][3][web.cfg][global]");
}

#[test]
fn environment_changes_while_reading() {
    check(
        "setenv X 1\na \"$X\"\nsetenv X 2\na \"$X\"",
        "[setenv][X][1]\n[a][1]\n[setenv][X][2]\n[a][2]",
    );
    check("presetenv A two\na \"$A\"", "[presetenv][A][two]\n[a][one]");
    check("unsetenv A\na \"${A-gone}\"", "[unsetenv][A]\n[a][gone]");
    check("resetenv A\na \"$A\" \"${WORDS-gone}\"", "[resetenv][A]\n[a][one][gone]");
    check("localpeer me\na \"$HAPROXY_LOCALPEER\"", "[localpeer][me]\n[a][me]");
    check("a \"$HAPROXY_CFGFILES\"", "[a][web.cfg]");
    check_error("global\n setenv X\n", "2:2+8 `setenv` lacks a value");
}

#[test]
fn conditional_blocks() {
    check(".if 1\na\n.else\nb\n.endif", "[a]");
    check(".if 0\na\n.else\nb\n.endif", "[b]");
    check(".if 0\na\n.elif 1\nb\n.elif 1\nc\n.else\nd\n.endif\ne", "[b]\n[e]");
    check(".if\na\n.endif", "");
    check(".if 1 # yes\na\n.endif", "[a]");
    check(".if 0\n.if 1\na\n.else\nb\n.endif\n.else\nc\n.endif", "[c]");
    check(".if streq(\"$A\",one) && !defined(NO)\na\n.endif", "[a]");
    // A condition in a part that does not count is not looked at.
    check(".if 0\n.if nonsense\n.endif\n.bad\n.endif", "");
    check(".if 1\n.elif nonsense\n.endif", "");
    let nested =
        |levels: usize| format!("{}a\n{}", ".if 1\n".repeat(levels), ".endif\n".repeat(levels));
    check(&nested(99), "[a]");
    let title = "101:1+3 `.if` blocks nested deeper than 99 levels";
    check_error(&format!("global\n{}", nested(100)), title);
}

#[test]
fn mistakes_in_blocks() {
    check_error(".endif\n", "1:1+6 `.endif` without `.if`");
    check_error(".if 1\n", "1:1+3 `.if` without `.endif`");
    check_error(".if 1\n.else\n.elif 1\n.endif\n", "3:1+5 `.elif` after `.else`");
    check_error(".if 1\n.endif x\n", "2:8+1 unexpected `x` after `.endif`");
    check_error(".if 1 && foo(x)\n.endif\n", "1:10+6 bad condition: unknown predicate `foo`");
    check_error(".iff 1\n", "1:1+4 unknown directive `.iff`");
    check_error(".if \"\na\n.endif\n", "1:5+1 double quote without its end");
    check_error("backend \"\na\n", "1:9+1 double quote without its end");
    check_error("\u{feff}global\n", "");
    check_error(".alert stop\nrubbish\n", "1:1+6 stop");
    check_error(".notice 'a b'\n.warning b\n.diag c\n", "1:1+7 a b\n2:1+8 b");
    check_error(".notice a b\n", "1:11+1 unexpected `b` after `.notice`");
}

#[test]
fn mistakes_in_words() {
    check_error("global\n a 'b c\n", "2:4+4 single quote without its end");
    check_error("global\n a \"b\n", "2:4+2 double quote without its end");
    check_error("global\n a \"${A\"\n", "2:5+3 variable without its closing brace");
    check_error("global\n a \"${A-b\"\n", "2:5+4 variable without its closing brace");
    check_error("global\n a \"$1\"\n", "2:5+2 bad name of a variable");
    check_error("global\n a \"$.NO\"\n", "2:5+4 unknown pseudo-variable `.NO`");
    check_error("global\n a \"${A[1]}\"\n", "2:8+3 bad expansion into words");
    check_error("global\n a \\x4g\n", "2:4+4 incomplete hexadecimal escape");
    check_error("global\n a \0b\n b", "2:4+1 NUL byte in the configuration");
    check_error("global\n a\rb\n", "2:3+2 carriage return in the middle of a line");
    check_error("global\n a", "2:2+1 last line without line feed");
    check_error("global\n \"$NO\" a\n", "2:2+5 line ignored because its first word is empty");
    let long = format!("global\n a{}\n", " b".repeat(64));
    check_error(&long, "2:130+1 more than 64 words on a line");
    check(&format!("a{}", " b".repeat(63)), &format!("[a]{}", "[b]".repeat(63)));
    let long = format!("global\n {}\n", "a".repeat(1 << 20));
    check_error(&long, "2:1+1 line longer than 1048576 bytes");
}

#[test]
fn sections_and_their_names() {
    let text = b"global\n a\ndefaults one\ndefaults from one\ndefaults two from one\n\
        frontend f from two\n b\n c d\nbackend b1\nuserlist u\n";
    let (_, sections, diagnostics) = read_text(text);
    assert!(diagnostics.is_empty(), "{diagnostics:?}");
    let told: Vec<_> = sections
        .iter()
        .map(|s| {
            let from = s.from().map_or("-", |from| from.text);
            let name = s.name().map_or("-", |name| name.text);
            format!("{} {name} {from} {}", s.keyword(), s.lines().len())
        })
        .collect();
    let expected = [
        "global - - 1",
        "defaults one - 0",
        "defaults - one 0",
        "defaults two one 0",
        "frontend f two 2",
        "backend b1 - 0",
        "userlist u - 0",
    ];
    assert_eq!(told, expected);
}

#[test]
fn mistakes_in_sections() {
    check_error("daemon\nmaxconn 1\n", "1:1+6 `daemon` before any section");
    check_error("frontend\n", "1:1+8 `frontend` lacks a name");
    check_error("backend a/b\n", "1:9+3 character '/' in the name of a backend");
    check_error("global x\n", "1:8+1 unexpected `x` after `global`");
    check_error("backend a b\n", "1:11+1 unexpected `b` after `backend a`");
    check_error("listen a :80\n", "1:10+3 `listen NAME ADDRESS` is obsolete");
    check_error("backend a from\n", "1:11+4 `from` lacks the name of a defaults section");
    // A slip is read as what was meant, and keywords that look like one are not slips.
    check_error("global\nbackned a\n x\n", "2:1+7 unknown section `backned`");
    check_error("fronted a\n", "1:1+7 unknown section `fronted`");
    check_error("peers p\npeer a\nmailers m\nmailer b\n", "");
}

#[test]
fn files_are_read_in_order_and_each_starts_anew() {
    let mut source = Source::new();
    source.add("1.cfg", b"global\n setenv X 5\n.if 1\n".to_vec());
    source.add("2.cfg", b"maxconn 1\nbackend b\n a \"$X\"\n".to_vec());
    let mut diagnostics = Diagnostics::new();
    let sections = read(&source, SectionSpec::HAPROXY, &mut Environment::new(), &mut diagnostics);
    assert_eq!(words(&sections), "[setenv][X][5]\n[a][5]");
    assert_eq!(diagnostics.errors(), 2);
}

#[test]
fn bytes_are_kept_and_places_are_exact() {
    let (_, sections, _) = read_text(b"global\n  a \xff\xfe b\\x41 \xc3\xa9\n");
    let line = sections[0].lines().next().expect("a line");
    let told: Vec<_> =
        line.tokens().map(|token| (token.text, token.at.column, token.at.len)).collect();
    let expected = [("a", 3, 1), ("\u{fffd}\u{fffd}", 5, 2), ("bA", 8, 5), ("\u{e9}", 14, 2)];
    assert_eq!(told, expected);
    assert_eq!(line.token(1).expect("a word").bytes, b"\xff\xfe");
    assert_eq!(line.token(2).expect("a word").bytes, b"bA");
    check("a\\xc3 \\xa9", "[a\\xc3][\\xa9]");
}

#[test]
fn variables_cannot_multiply_a_file_without_end() {
    let mut text = String::from("global\n setenv X 0123456789abcdef\n");
    for _ in 0..20 {
        text.push_str(" setenv X \"$X$X\"\n");
    }
    text.push_str(&" a \"$X\"\n".repeat(100));
    let (_, _, diagnostics) = read_text(text.as_bytes());
    assert!(diagnostics.has_errors());
}

#[test]
fn a_condition_of_the_command_line_is_read_like_a_line() {
    let check = |text: &str, expected: Option<bool>| {
        let mut source = Source::new();
        let file = source.add("-cc", text.into());
        let mut diagnostics = Diagnostics::new();
        let answer = crate::check_condition(&source, file, &environment(), &mut diagnostics);
        assert_eq!(answer, expected, "{text}");
        assert_eq!(diagnostics.has_errors(), answer.is_none(), "{text}");
    };
    check("", Some(false));
    check("streq(\"$A\",one) && 1", Some(true));
    check("streq(#,#)", Some(true));
    check("streq(a", None);
    check("'1", None);
}

#[test]
fn work_grows_with_the_text_only() {
    // Each would take minutes if it cost the square of its size.
    let n = 200_000;
    let texts = [
        "\"".repeat(n),
        "$".repeat(n),
        "\"${A".repeat(n),
        "x\n".repeat(n),
        "global\n".repeat(n),
        "backned a\n".repeat(n),
        ".if 1\n".repeat(n),
        ".if 1\n.endif\n".repeat(n),
        format!(".if {}\n", "(".repeat(n)),
        format!(".if {}1\n", "!".repeat(n)),
        format!("global\n a {}\n", "\\".repeat(n)),
        format!("defaults\n{}", "backend a from x\n".repeat(n)),
        "\r".repeat(n),
        "\n".repeat(n),
        " ".repeat(n),
    ];
    for text in texts {
        let (source, sections, mut diagnostics) = read_text(text.as_bytes());
        crate::resolve_defaults(&sections, &mut diagnostics);
        diagnostics.render(&source, Style::Plain);
    }
}

#[test]
fn defaults_are_linked() {
    let link = |text: &str| {
        let (_, sections, mut diagnostics) = read_text(text.as_bytes());
        let links = crate::resolve_defaults(&sections, &mut diagnostics);
        let titles: Vec<_> = diagnostics.iter().map(|e| e.kind.explain().title).collect();
        (links, titles.join("\n"))
    };
    let text = "backend a\ndefaults x\nbackend b\ndefaults\nbackend c\nbackend d from x\n";
    let mixed = "defaults section `x` is used both by name and as the last one before";
    assert_eq!(link(text).0, [None, None, Some(1), None, Some(3), Some(1)]);
    assert_eq!(link(text).1, mixed);
    assert_eq!(
        link("defaults x\ndefaults x\nbackend a from x\n"),
        (vec![None, None, Some(0)], "defaults section `x` is ambiguous".to_owned())
    );
    assert_eq!(
        link("backend a from x\ndefaults x\n").1,
        "there is no defaults section before this `x`"
    );
    assert_eq!(link("defaults x\ndefaults from x\nbackend a\n").0, [None, Some(0), Some(1)]);
}

proptest::proptest! {
    #[test]
    fn any_bytes_give_a_result_or_errors(
        text in proptest::collection::vec(
            proptest::prelude::prop_oneof![
                proptest::prelude::any::<u8>(),
                proptest::sample::select(b" \n\"'\\$#{}[*]-.ifelsndx1()&|!A\r".as_slice()),
            ],
            0..400,
        )
    ) {
        let (source, sections, mut diagnostics) = read_text(&text);
        crate::resolve_defaults(&sections, &mut diagnostics);
        diagnostics.render(&source, Style::Plain);
    }
}
