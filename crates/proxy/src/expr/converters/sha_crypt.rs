//! SHA-256 and SHA-512 crypt, the password hashes `$5$` and `$6$`.
//!
//! Source: Ulrich Drepper, "Unix crypt using SHA-256 and SHA-512", version 0.6.

use sha2::digest::Output;
use sha2::{Digest, Sha256, Sha512};

/// Hashes the password with the salt and rounds of `setting`, a whole hash or the beginning of
/// one. `None` when it is of another kind.
pub(crate) fn crypt(password: &[u8], setting: &str) -> Option<String> {
    let rest = setting.strip_prefix('$')?;
    let (kind, rest) = rest.split_once('$')?;
    let (rounds, rest) = match rest.strip_prefix("rounds=") {
        Some(rest) => {
            let (rounds, rest) = rest.split_once('$')?;
            (Some(rounds.parse::<u32>().ok()?.clamp(ROUNDS_MIN, ROUNDS_MAX)), rest)
        }
        None => (None, rest),
    };
    let salt = rest.split('$').next().unwrap_or_default();
    let salt = &salt.as_bytes()[..salt.len().min(SALT_LEN_MAX)];
    let times = rounds.unwrap_or(ROUNDS_DEFAULT);
    let hash = match kind {
        "5" => encode(&digest::<Sha256>(password, salt, times), &ORDER_256),
        "6" => encode(&digest::<Sha512>(password, salt, times), &ORDER_512),
        _ => return None,
    };
    let rounds = rounds.map_or(String::new(), |rounds| format!("rounds={rounds}$"));
    Some(format!("${kind}${rounds}{}${hash}", std::str::from_utf8(salt).ok()?))
}

fn digest<D: Digest>(password: &[u8], salt: &[u8], rounds: u32) -> Output<D> {
    let len = <D as Digest>::output_size();
    // Steps 4 to 8.
    let alternate =
        D::new().chain_update(password).chain_update(salt).chain_update(password).finalize();
    // Steps 1 to 3 and 9 to 12.
    let mut hash = D::new().chain_update(password).chain_update(salt);
    update_repeated(&mut hash, &alternate, password.len());
    let mut bits = password.len();
    while bits > 0 {
        if bits & 1 == 1 {
            hash.update(&alternate);
        } else {
            hash.update(password);
        }
        bits >>= 1;
    }
    let mut result = hash.finalize();
    // Steps 13 to 16.
    let mut hash = D::new();
    for _ in 0..password.len() {
        hash.update(password);
    }
    let from_password = repeated(&hash.finalize(), password.len(), len);
    // Steps 17 to 20.
    let mut hash = D::new();
    for _ in 0..16 + usize::from(result[0]) {
        hash.update(salt);
    }
    let from_salt = repeated(&hash.finalize(), salt.len(), len);
    // Step 21.
    for round in 0..rounds {
        let mut hash = D::new();
        if round & 1 == 1 {
            hash.update(&from_password);
        } else {
            hash.update(&result);
        }
        if round % 3 != 0 {
            hash.update(&from_salt);
        }
        if round % 7 != 0 {
            hash.update(&from_password);
        }
        if round & 1 == 1 {
            hash.update(&result);
        } else {
            hash.update(&from_password);
        }
        result = hash.finalize();
    }
    result
}

fn update_repeated(hash: &mut impl Digest, block: &[u8], len: usize) {
    for start in (0..len).step_by(block.len()) {
        hash.update(&block[..block.len().min(len - start)]);
    }
}

fn repeated(block: &[u8], len: usize, digest_len: usize) -> Vec<u8> {
    block.iter().take(digest_len).copied().cycle().take(len).collect()
}

/// Writes groups of three bytes, in the order given, as four digits each.
fn encode(bytes: &[u8], order: &[[u8; 3]]) -> String {
    let mut out = String::with_capacity(86);
    for group in order {
        // 64 stands for no byte.
        let byte = |at: u8| bytes.get(usize::from(at)).copied().map(u32::from);
        let group = group.map(byte);
        let mut value = group.iter().fold(0u32, |value, byte| value << 8 | byte.unwrap_or(0));
        let digits = 1 + group.iter().flatten().count();
        for _ in 0..digits {
            out.push(char::from(DIGITS[(value & 63) as usize]));
            value >>= 6;
        }
    }
    out
}

const SALT_LEN_MAX: usize = 16;
const ROUNDS_DEFAULT: u32 = 5_000;
const ROUNDS_MIN: u32 = 1_000;
const ROUNDS_MAX: u32 = 999_999_999;

const DIGITS: &[u8; 64] = b"./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

const ORDER_256: [[u8; 3]; 11] = [
    [0, 10, 20],
    [21, 1, 11],
    [12, 22, 2],
    [3, 13, 23],
    [24, 4, 14],
    [15, 25, 5],
    [6, 16, 26],
    [27, 7, 17],
    [18, 28, 8],
    [9, 19, 29],
    [64, 31, 30],
];

const ORDER_512: [[u8; 3]; 22] = [
    [0, 21, 42],
    [22, 43, 1],
    [44, 2, 23],
    [3, 24, 45],
    [25, 46, 4],
    [47, 5, 26],
    [6, 27, 48],
    [28, 49, 7],
    [50, 8, 29],
    [9, 30, 51],
    [31, 52, 10],
    [53, 11, 32],
    [12, 33, 54],
    [34, 55, 13],
    [56, 14, 35],
    [15, 36, 57],
    [37, 58, 16],
    [59, 17, 38],
    [18, 39, 60],
    [40, 61, 19],
    [62, 20, 41],
    [64, 64, 63],
];

#[cfg(test)]
mod tests {
    use super::crypt;

    #[track_caller]
    fn check(password: &str, hash: &str) {
        assert_eq!(crypt(password.as_bytes(), hash).as_deref(), Some(hash));
    }

    /// Made with `openssl passwd -5` and `-6`.
    #[test]
    fn hashes_are_those_of_other_programs() {
        check("secret", "$5$abcdefgh$gruCpC7VkOTspMQTTSAR8mtlO9Upms.fwqE5y16JVM.");
        check(
            "secret",
            "$6$abcdefgh$ltjgWl6579NluT/Vi1nwEvcil.G5Nbc4NiXZaNGStk8PSwGfQv72N2CKPPrVACtLtip/cZ/1GM/O6IND4WQhG.",
        );
        let long = "a much longer password than thirty-two bytes, so that blocks repeat, and even sixty-four";
        check(long, "$5$abcdefgh$zF.leX3wWAwS43pwKyTpzfov4Tr69f2UpTpvbKksZiB");
        check(
            long,
            "$6$abcdefgh$m794YXA/WcPctl68biAlueu8XfeW1MqDqCYM7NoCCg6Sns8d9VbZTPNexmQLcB908wJo2S.gL67L/q6pWMO5t.",
        );
    }
}
