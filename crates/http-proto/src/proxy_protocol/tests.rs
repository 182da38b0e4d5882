use proptest::prelude::*;

use super::*;

const SIGNATURE: &str = "0d0a0d0a000d0a515549540a";

fn unhex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.bytes().filter(|byte| *byte != b' ').collect();
    let digit = |byte: u8| (byte as char).to_digit(16).expect("a hexadecimal digit") as u8;
    digits.chunks_exact(2).map(|pair| digit(pair[0]) << 4 | digit(pair[1])).collect()
}

#[track_caller]
fn check(bytes: &[u8], expected: &str) {
    let shown = |header: ProxyHeader| {
        let mut text = match header.addresses {
            Some((from, to)) => format!("{from} > {to}"),
            None => "unknown".to_owned(),
        };
        for (name, value) in [("authority", header.authority), ("id", header.unique_id)] {
            if let Some(value) = value {
                text.push_str(&format!(" {name}={}", String::from_utf8_lossy(&value)));
            }
        }
        text
    };
    let got = match parse(bytes) {
        Ok(None) => "incomplete".to_owned(),
        Ok(Some((header, len))) => format!("{} [{len}]", shown(header)),
        Err(error) => format!("{error:?}"),
    };
    assert_eq!(got, expected, "{}", String::from_utf8_lossy(bytes));
}

#[test]
fn lines_of_version_1() {
    check(b"PROXY TCP4 1.2.3.4 5.6.7.8 80 443\r\nGET", "1.2.3.4:80 > 5.6.7.8:443 [35]");
    check(b"PROXY TCP6 ::1 2001:db8::2 1 65535\r\n", "[::1]:1 > [2001:db8::2]:65535 [36]");
    check(b"PROXY UNKNOWN\r\n", "unknown [15]");
    check(b"PROXY UNKNOWN ffff:: 1 what ever\r\n", "unknown [34]");
    for missing in ["", "P", "PROXY ", "PROXY TCP4 1.2.3.4 5.6.7.8 80 443", "PROXY UNKNOWN\r"] {
        check(missing.as_bytes(), "incomplete");
    }
    for other in ["G", "GET / HTTP/1.1\r\n", "proxy TCP4", "PROXX"] {
        check(other.as_bytes(), "NotHeader");
    }
    for wrong in [
        "PROXY TCP4 1.2.3.4 5.6.7.8 80\r\n",
        "PROXY TCP4 1.2.3.4 5.6.7.8 80 443 1\r\n",
        "PROXY TCP4  1.2.3.4 5.6.7.8 80 443\r\n",
        "PROXY TCP4 1.2.3.4 5.6.7.8 +80 443\r\n",
        "PROXY TCP4 1.2.3.4 5.6.7.8 80 65536\r\n",
        "PROXY TCP4 ::1 5.6.7.8 80 443\r\n",
        "PROXY TCP6 1.2.3.4 ::1 80 443\r\n",
        "PROXY TCP4 1.2.3.4 5.6.7.8 80 443\n",
        "PROXY TCP4 1.2.3.4 5.6.7.8 80 443 \r\n",
    ] {
        check(wrong.as_bytes(), "Invalid");
    }
    check(b"PROXY UDP4 1.2.3.4 5.6.7.8 80 443\r\n", "UnknownProtocol");
    check(format!("PROXY UNKNOWN {}", "x".repeat(107 - 14)).as_bytes(), "Invalid");
}

#[test]
fn headers_of_version_2() {
    let addresses = "7F000001 7F000002 002A 0539";
    let header = |rest: &str| unhex(&format!("{SIGNATURE}{rest}"));
    check(&header(&format!("21 11 000C {addresses}")), "127.0.0.1:42 > 127.0.0.2:1337 [28]");
    check(
        &header(&format!("21 11 0014 {addresses} 02 0005 3132333435")),
        "127.0.0.1:42 > 127.0.0.2:1337 authority=12345 [36]",
    );
    check(
        &header(&format!("21 11 0012 {addresses} 05 0003 616263")),
        "127.0.0.1:42 > 127.0.0.2:1337 id=abc [34]",
    );
    check(
        &header(
            "21 21 0024 00000000000000000000000000000001 00000000000000000000000000000002 0001 0002",
        ),
        "[::1]:1 > [::2]:2 [52]",
    );
    check(&header("20 00 0000"), "unknown [16]");
    check(&header(&format!("20 11 000C {addresses}")), "unknown [28]");
    check(&header("21 31 0002 0102"), "unknown [18]");
    check(&header(&format!("21 11 000C {}", &addresses[..20])), "incomplete");
    check(&header("21"), "incomplete");
    check(&header("31 11 0000"), "Invalid");
    check(&header("22 11 0000"), "Invalid");
    check(&header("21 11 000B 0000000000000000000000"), "Invalid");
    // A value that is longer than the header, one that ends before it, an authority too long.
    check(&header(&format!("21 11 0014 {addresses} 02 000A 3132333435")), "Invalid");
    check(&header(&format!("21 11 0014 {addresses} 02 0004 31323334 00")), "Invalid");
    check(&header(&format!("21 11 010F {addresses} 02 0100 {}", "61".repeat(256))), "Invalid");
    check(&header(&format!("21 11 0013 {addresses} 03 0004 00000000")), "Invalid");
}

proptest! {
    /// What is written is read as it was meant, whole and at no cut before its end.
    #[test]
    fn written_headers_are_read(
        from: SocketAddr, to: SocketAddr, id in proptest::collection::vec(any::<u8>(), 0..=128), checksum: bool,
    ) {
        let mut bytes = Vec::new();
        let tlvs = [Tlv { kind: Tlv::UNIQUE_ID, value: &id }, Tlv { kind: 0xee, value: b"ours" }];
        write_v2(&mut bytes, Some((from, to)), checksum, &tlvs);
        let expected = same_family((from, to));
        let (header, len) = parse(&bytes).expect("a header").expect("whole");
        let same = |a: SocketAddr, b: SocketAddr| (a.ip(), a.port()) == (b.ip(), b.port());
        let (read_from, read_to) = header.addresses.expect("addresses");
        prop_assert!(same(read_from, expected.0) && same(read_to, expected.1));
        prop_assert_eq!(header.unique_id.as_deref(), Some(&id[..]));
        prop_assert_eq!(len, bytes.len());
        for cut in 0..bytes.len() {
            prop_assert_eq!(parse(&bytes[..cut]), Ok(None));
        }
        if checksum {
            let last = bytes.len() - 1;
            bytes[last] ^= 1;
            prop_assert_eq!(parse(&bytes), Err(ProxyHeaderError::Invalid));
        }

        let mut line = Vec::new();
        write_v1(&mut line, Some((from, to)));
        let (header, len) = parse(&line).expect("a header").expect("whole");
        let (read_from, read_to) = header.addresses.expect("addresses");
        prop_assert!(same(read_from, expected.0) && same(read_to, expected.1));
        prop_assert_eq!(len, line.len());
        prop_assert!(len <= V1_MAX);
    }

    #[test]
    fn any_bytes_are_read_or_refused(bytes: Vec<u8>, version_2: bool) {
        let mut input = if version_2 { V2_SIGNATURE.to_vec() } else { b"PROXY ".to_vec() };
        input.extend(bytes);
        if let Ok(Some((_, len))) = parse(&input) {
            prop_assert!(len <= input.len());
        }
    }
}
