//! What the agent beside a member says of it: one line of words, parsed and not yet believed.
//!
//! The line ends at the first CR or LF. Its words stand apart by spaces, tabs or commas, in any order and case; of several
//! of one kind the last counts. A `#` begins a description, up to the end of the line.
//!
//! ```text
//! line        = *( word / 1*( SP / TAB / "," ) ) [ "#" description ] ( CR / LF )
//! word        = "up" / "down" / "stopped" / "fail"        health
//!             / "ready" / "drain" / "maint"               what is asked of the member
//!             / 1*DIGIT "%"                               weight, of the configured one
//!             / "maxconn:" 1*DIGIT                        the most units at once
//!             / ( "cpu:" / "memory:" / "disk:" / "network:" / "load:" ) share
//! share       = 1*DIGIT [ "." 1*DIGIT ] [ "%" ]           how much is in use: `35%` and `0.35` are the same
//! ```
//!
//! Source: HAProxy configuration manual, `agent-check`, but for the last kind, which is Telamon's own and feeds
//! `balance usage`. Weight and limit are handed on as they were written: whoever applies them knows their bounds.

/// One line of an agent. What is `None` was not said and stays as it is.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct AgentLine<'l> {
    pub health: Option<AgentHealth>,
    /// The word that says it, as written.
    pub health_word: &'l str,
    pub admin: Option<AgentOrder>,
    /// `75%`
    pub weight: Option<&'l str>,
    /// The number of `maxconn:30`.
    pub maxconn: Option<&'l str>,
    pub usage: Usage,
    /// Behind `#`.
    pub description: &'l str,
    /// The first word that is none of these.
    pub unknown: Option<&'l str>,
}

/// The health that an agent reports. The three ways to be down differ in the word that is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AgentHealth {
    Up,
    Down,
    /// On purpose.
    Stopped,
    /// It runs, and does not work.
    Fail,
}

/// What an agent asks for, as an administrator would.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AgentOrder {
    Ready,
    Drain,
    Maintenance,
}

/// How much of each resource is in use, where 1 is all of it; what was not said is `None`. At most [`USAGE_MAX`]: a load
/// above 1 is work that waits.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Usage {
    pub cpu: Option<f32>,
    pub memory: Option<f32>,
    pub disk: Option<f32>,
    pub network: Option<f32>,
    /// One number for all of it, as the application sees it.
    pub load: Option<f32>,
}

impl<'l> AgentLine<'l> {
    /// Reads the line at the front of `input`; `None` means that its end has not come.
    ///
    /// Text that is no UTF-8 is an unknown word.
    pub fn parse(input: &'l [u8]) -> Option<Self> {
        let end = input.iter().position(|byte| matches!(byte, b'\r' | b'\n'))?;
        let mut line = Self::default();
        let Ok(text) = std::str::from_utf8(&input[..end]) else {
            line.unknown = Some("bytes that are no text");
            return Some(line);
        };
        let mut rest = text;
        loop {
            rest = rest.trim_start_matches(SEPARATORS);
            if let Some(description) = rest.strip_prefix('#') {
                line.description = description.trim_start_matches([' ', '\t']);
                break;
            }
            if rest.is_empty() {
                break;
            }
            let (word, behind) = rest.split_at(rest.find(SEPARATORS).unwrap_or(rest.len()));
            line.take(word);
            rest = behind;
        }
        Some(line)
    }

    fn take(&mut self, word: &'l str) {
        if let Some((_, health)) = HEALTH.iter().find(|(known, _)| known.eq_ignore_ascii_case(word))
        {
            (self.health, self.health_word) = (Some(*health), word);
        } else if let Some((_, order)) =
            ORDERS.iter().find(|(known, _)| known.eq_ignore_ascii_case(word))
        {
            self.admin = Some(*order);
        } else if word.starts_with(|first: char| first.is_ascii_digit()) && word.contains('%') {
            self.weight = Some(word);
        } else if !self.take_value(word) && self.unknown.is_none() {
            self.unknown = Some(word);
        }
    }

    /// Takes `name:value`.
    fn take_value(&mut self, word: &'l str) -> bool {
        let Some((name, value)) = word.split_once(':') else { return false };
        let is = |known: &str| known.eq_ignore_ascii_case(name);
        if is("maxconn") {
            self.maxconn = Some(value);
            return true;
        }
        let usage = &mut self.usage;
        let place = match () {
            () if is("cpu") => &mut usage.cpu,
            () if is("memory") => &mut usage.memory,
            () if is("disk") => &mut usage.disk,
            () if is("network") => &mut usage.network,
            () if is("load") => &mut usage.load,
            () => return false,
        };
        let share = share(value);
        *place = share.or(*place);
        share.is_some()
    }
}

impl AgentHealth {
    /// Whether the member works.
    pub fn is_up(self) -> bool {
        self == Self::Up
    }
}

impl Usage {
    /// Whether nothing was said.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// The share in use of what is scarcest.
    pub fn highest(&self) -> Option<f32> {
        [self.cpu, self.memory, self.disk, self.network, self.load]
            .into_iter()
            .flatten()
            .reduce(f32::max)
    }
}

/// Reads `35%` or `0.35`.
pub(crate) fn share(text: &str) -> Option<f32> {
    let (digits, whole) = match text.strip_suffix('%') {
        Some(digits) => (digits, 100.0),
        None => (text, 1.0),
    };
    // What else Rust takes for a number (`inf`, `1e9`, signs) an agent does not mean.
    let plain = digits.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    let number: f32 = digits.parse().ok().filter(|_| plain)?;
    Some((number / whole).min(USAGE_MAX))
}

/// The most that is in use, in shares of all there is.
pub const USAGE_MAX: f32 = 1000.0;

const SEPARATORS: [char; 3] = [' ', '\t', ','];

const HEALTH: [(&str, AgentHealth); 4] = [
    ("up", AgentHealth::Up),
    ("down", AgentHealth::Down),
    ("stopped", AgentHealth::Stopped),
    ("fail", AgentHealth::Fail),
];

const ORDERS: [(&str, AgentOrder); 3] = [
    ("ready", AgentOrder::Ready),
    ("drain", AgentOrder::Drain),
    ("maint", AgentOrder::Maintenance),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(input: &str, expected: AgentLine<'_>) {
        assert_eq!(AgentLine::parse(input.as_bytes()), Some(expected));
    }

    fn nothing() -> AgentLine<'static> {
        AgentLine::default()
    }

    #[test]
    fn lines_are_read_word_by_word() {
        let up =
            |health_word| AgentLine { health: Some(AgentHealth::Up), health_word, ..nothing() };
        check("up\n", up("up"));
        check("UP\r\n", up("UP"));
        check(" \t,up,,\n down\n", up("up"));
        check("down up\n", up("up"));
        check("\n", nothing());
        check(
            "ready,75%\tmaxconn:30 fail#x\n",
            AgentLine {
                admin: Some(AgentOrder::Ready),
                weight: Some("75%"),
                maxconn: Some("30"),
                unknown: Some("fail#x"),
                ..nothing()
            },
        );
        check(
            "drain stopped # gone, home \n",
            AgentLine {
                admin: Some(AgentOrder::Drain),
                health: Some(AgentHealth::Stopped),
                health_word: "stopped",
                description: "gone, home ",
                ..nothing()
            },
        );
        assert_eq!(AgentLine::parse(b"up"), None);
        assert_eq!(AgentLine::parse(b""), None);
    }

    #[test]
    fn what_is_not_understood_is_named_and_changes_nothing() {
        let unknown = |word| AgentLine { unknown: Some(word), ..nothing() };
        check("sideways upwards\n", unknown("sideways"));
        check("cpu:lots\n", unknown("cpu:lots"));
        check("cpu:-1\n", unknown("cpu:-1"));
        check("cpu:inf\n", unknown("cpu:inf"));
        check("load:\n", unknown("load:"));
        check("temperature:30\n", unknown("temperature:30"));
        check("%\n", unknown("%"));
        let bytes = AgentLine::parse(b"up \xff\n").and_then(|line| line.unknown);
        assert_eq!(bytes, Some("bytes that are no text"));
    }

    #[test]
    fn usage_is_a_share() {
        let of = |line: &str| AgentLine::parse(line.as_bytes()).map(|line| line.usage);
        let usage = of("cpu:35% memory:0.7,LOAD:1.5 disk:250%\n").unwrap_or_default();
        assert_eq!((usage.cpu, usage.memory), (Some(0.35), Some(0.7)));
        assert_eq!((usage.disk, usage.network, usage.load), (Some(2.5), None, Some(1.5)));
        assert_eq!(usage.highest(), Some(2.5));
        assert_eq!(of("cpu:10% cpu:many\n").unwrap_or_default().cpu, Some(0.1));
        assert_eq!(of("load:99999999999\n").unwrap_or_default().load, Some(USAGE_MAX));
        assert!(of("up\n").unwrap_or_default().is_empty());
    }
}
