//! The word that was probably meant.

/// Returns the candidate nearest to `found` by edit distance (insertion, deletion, replacement,
/// and swapping neighbours), if one is near enough to be worth proposing: one change in three
/// letters, at most three. The first of equals wins.
pub fn nearest<'c>(found: &str, candidates: impl IntoIterator<Item = &'c str>) -> Option<&'c str> {
    if found.len() > WORD_LEN_MAX {
        return None;
    }
    let limit = (found.len() / 3).clamp(1, 3);
    let mut best: Option<(usize, &str)> = None;
    for candidate in candidates {
        let limit = best.map_or(limit, |(distance, _)| distance.saturating_sub(1));
        if candidate.len().abs_diff(found.len()) > limit || candidate.len() > WORD_LEN_MAX {
            continue;
        }
        // A proposal that shares no letter (`a` for `b`) is noise.
        if let Some(distance) = distance(found.as_bytes(), candidate.as_bytes(), limit)
            && distance < found.len().max(candidate.len())
        {
            best = Some((distance, candidate));
            if distance == 0 {
                break;
            }
        }
    }
    best.map(|(_, candidate)| candidate)
}

/// Optimal string alignment distance of two words of at most `WORD_LEN_MAX` bytes, ASCII case
/// ignored; `None` above `limit`.
fn distance(a: &[u8], b: &[u8], limit: usize) -> Option<usize> {
    let mut before = [0u8; WORD_LEN_MAX + 1];
    let mut last = [0u8; WORD_LEN_MAX + 1];
    let mut row = [0u8; WORD_LEN_MAX + 1];
    for (column, cell) in last.iter_mut().enumerate() {
        *cell = column as u8;
    }
    for i in 1..=a.len() {
        row[0] = i as u8;
        let mut least = row[0];
        for j in 1..=b.len() {
            let same = a[i - 1].eq_ignore_ascii_case(&b[j - 1]);
            let mut cell = (last[j] + 1).min(row[j - 1] + 1).min(last[j - 1] + u8::from(!same));
            if i > 1
                && j > 1
                && a[i - 1].eq_ignore_ascii_case(&b[j - 2])
                && a[i - 2].eq_ignore_ascii_case(&b[j - 1])
            {
                cell = cell.min(before[j - 2] + 1);
            }
            row[j] = cell;
            least = least.min(cell);
        }
        if usize::from(least) > limit {
            return None;
        }
        (before, last) = (last, row);
    }
    let distance = usize::from(last[b.len()]);
    (distance <= limit).then_some(distance)
}

/// Longer words get no proposal, which bounds the work per mistake.
const WORD_LEN_MAX: usize = 63;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_finds_its_word() {
        let words =
            ["roundrobin", "static-rr", "check", "inter", "option httpchk", "option httplog"];
        let near = |found| nearest(found, words);
        assert_eq!(near("roundrobbin"), Some("roundrobin"));
        assert_eq!(near("chekc"), Some("check"));
        assert_eq!(near("CHECK"), Some("check"));
        assert_eq!(near("option httpchek"), Some("option httpchk"));
        assert_eq!(near("optoin httplog"), Some("option httplog"));
        assert_eq!(near("leastconn"), None);
        assert_eq!(near(""), None);
        assert_eq!(near(&"x".repeat(1000)), None);
    }
}
