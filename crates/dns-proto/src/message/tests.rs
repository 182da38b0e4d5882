use super::*;

/// A message as a name server would send it: header, question, and sections of records.
struct Message {
    flags: u16,
    question: (&'static str, Kind),
    answers: Vec<Vec<u8>>,
    additional: Vec<Vec<u8>>,
}

impl Message {
    fn new(name: &'static str, kind: Kind) -> Self {
        let flags = RESPONSE | RECURSION_DESIRED | 0x0080;
        Self { flags, question: (name, kind), answers: Vec::new(), additional: Vec::new() }
    }

    fn with(mut self, record: Vec<u8>) -> Self {
        self.answers.push(record);
        self
    }

    fn bytes(&self) -> Vec<u8> {
        let mut out = vec![0x12, 0x34];
        out.extend(self.flags.to_be_bytes());
        for count in [1, self.answers.len(), 0, self.additional.len()] {
            out.extend((count as u16).to_be_bytes());
        }
        out.extend(name(self.question.0).wire());
        out.extend((self.question.1 as u16).to_be_bytes());
        out.extend(CLASS_IN.to_be_bytes());
        out.extend(self.answers.concat());
        out.extend(self.additional.concat());
        out
    }
}

fn name(text: &str) -> Name {
    Name::parse(text).expect("a name")
}

fn record(owner: &str, kind: u16, data: &[u8]) -> Vec<u8> {
    let mut out = name(owner).wire().to_vec();
    out.extend(kind.to_be_bytes());
    out.extend(CLASS_IN.to_be_bytes());
    out.extend(60u32.to_be_bytes());
    out.extend((data.len() as u16).to_be_bytes());
    out.extend(data);
    out
}

fn a(owner: &str, ip: [u8; 4]) -> Vec<u8> {
    record(owner, TYPE_A, &ip)
}

fn alias(owner: &str, target: &str) -> Vec<u8> {
    record(owner, TYPE_CNAME, name(target).wire())
}

fn srv(owner: &str, weight: u16, port: u16, target: &str) -> Vec<u8> {
    let mut data = 5u16.to_be_bytes().to_vec();
    data.extend(weight.to_be_bytes());
    data.extend(port.to_be_bytes());
    data.extend(name(target).wire());
    record(owner, TYPE_SRV, &data)
}

#[track_caller]
fn read(bytes: &[u8], asked: &str, kind: Kind) -> Result<Answer, AnswerError> {
    read_answer(bytes, &Question { id: 0x1234, name: &name(asked), kind })
}

#[track_caller]
fn check(message: Message, expected: Result<&[&str], AnswerError>) {
    let (asked, kind) = message.question;
    let found = read(&message.bytes(), asked, kind).map(|answer| {
        let records = answer.records.iter().map(|record| match (&record.data, record.address) {
            (Data::Address(ip), _) => ip.to_string(),
            (Data::Service { target, port }, None) => format!("{target}:{port}*{}", record.weight),
            (Data::Service { target, port }, Some(ip)) => {
                format!("{target}:{port}*{}={ip}", record.weight)
            }
        });
        records.collect::<Vec<_>>()
    });
    assert_eq!(found, expected.map(|rows| rows.iter().map(|row| row.to_string()).collect()));
}

#[test]
fn records_of_the_name_are_the_answer() {
    let asked = || Message::new("web.example", Kind::A);
    check(
        asked().with(a("web.example", [10, 0, 0, 1])).with(a("WEB.example", [10, 0, 0, 2])),
        Ok(&["10.0.0.1", "10.0.0.2"]),
    );
    // Nobody asked for another name's.
    check(
        asked().with(a("web.example", [10, 0, 0, 1])).with(a("evil.example", [6, 6, 6, 6])),
        Ok(&["10.0.0.1"]),
    );
    check(asked().with(a("evil.example", [6, 6, 6, 6])), Err(AnswerError::OtherKind));
    check(
        Message::new("web.example", Kind::Aaaa).with(record(
            "web.example",
            TYPE_AAAA,
            &Ipv6Addr::LOCALHOST.octets(),
        )),
        Ok(&["::1"]),
    );
    check(
        Message::new("web.example", Kind::Aaaa).with(a("web.example", [10, 0, 0, 1])),
        Err(AnswerError::OtherKind),
    );
}

#[test]
fn aliases_are_followed_in_any_order() {
    let asked = || Message::new("web.example", Kind::A);
    check(
        asked()
            .with(a("c.example", [10, 0, 0, 1]))
            .with(alias("b.example", "c.example"))
            .with(alias("web.example", "b.example")),
        Ok(&["10.0.0.1"]),
    );
    check(asked().with(alias("web.example", "b.example")), Err(AnswerError::BadAlias));
    check(
        asked().with(alias("web.example", "b.example")).with(alias("b.example", "web.example")),
        Err(AnswerError::BadAlias),
    );
}

#[test]
fn services_have_ports_weights_and_perhaps_addresses() {
    let mut message = Message::new("_http._tcp.example", Kind::Srv)
        .with(srv("_http._tcp.example", 10, 8080, "a.example"))
        .with(srv("_http._tcp.example", 0, 8081, "b.example"));
    message.additional = vec![a("A.example", [10, 0, 0, 1]), record("x", TYPE_OPT, &[])];
    check(message, Ok(&["a.example:8080*10=10.0.0.1", "b.example:8081*0"]));
}

#[test]
fn codes_say_why_there_is_nothing() {
    #[track_caller]
    fn code(flags: u16, expected: AnswerError) {
        let mut message = Message::new("web.example", Kind::A).with(a("web.example", [1, 2, 3, 4]));
        message.flags |= flags;
        check(message, Err(expected));
    }
    code(3, AnswerError::NoName);
    code(5, AnswerError::Refused);
    code(2, AnswerError::Failed(2));
    code(TRUNCATED, AnswerError::Truncated);
    check(Message::new("web.example", Kind::A), Err(AnswerError::Empty));
}

#[test]
fn what_was_not_asked_is_no_answer() {
    let good = Message::new("web.example", Kind::A).with(a("web.example", [1, 2, 3, 4])).bytes();
    #[track_caller]
    fn refused(bytes: &[u8], expected: &'static str) {
        match read(bytes, "web.example", Kind::A) {
            Err(AnswerError::Malformed { what, .. }) => assert_eq!(what, expected),
            other => panic!("{other:?}"),
        }
    }
    let change = |at: usize, byte: u8| {
        let mut bytes = good.clone();
        bytes[at] = byte;
        bytes
    };
    refused(&change(0, 0x13), "another id");
    refused(&change(2, 0x01), "not an answer");
    refused(&change(2, 0x90), "not an answer");
    refused(&change(5, 2), "not one question");
    refused(&change(13, b'x'), "another question");
    refused(&change(26, 28), "another question");
    refused(&good[..good.len() - 1], "data");
    refused(&good[..20], "a name");
    refused(&good[..5], "a count");
    refused(b"", "an id");
    let short = Message::new("web.example", Kind::A).with(record("web.example", TYPE_A, &[1, 2]));
    refused(&short.bytes(), "an address");
}

#[test]
fn a_question_is_what_an_answer_repeats() {
    let (name, kind) = (name("web.example"), Kind::Aaaa);
    let mut out = Vec::new();
    write_query(&mut out, &Question { id: 0xbeef, name: &name, kind }, 4096);
    assert_eq!(
        out,
        b"\xbe\xef\x01\0\0\x01\0\0\0\0\0\x01\x03web\x07example\0\0\x1c\0\x01\
          \0\0\x29\x10\0\0\0\0\0\0\0"
    );
    assert_eq!(message_id(&out), Some(0xbeef));
    assert_eq!(message_id(&out[..1]), None);
}

proptest::proptest! {
    #[test]
    fn no_message_makes_it_stumble(bytes in proptest::collection::vec(0u8.., 0..200)) {
        let _ = read(&bytes, "web.example", Kind::A);
    }

    #[test]
    fn no_damage_makes_it_stumble(at in 0usize..90, byte: u8) {
        let mut bytes = Message::new("_a.b", Kind::Srv)
            .with(alias("_a.b", "c"))
            .with(srv("c", 1, 2, "d.e"))
            .with(a("d.e", [1, 2, 3, 4]))
            .bytes();
        if let Some(place) = bytes.get_mut(at) {
            *place = byte;
        }
        let _ = read(&bytes, "_a.b", Kind::Srv);
    }
}
