//! What a configuration may ask about its surroundings.

use std::collections::BTreeMap;

/// The version that `version_atleast` and `version_before` compare with.
pub const VERSION: &str = "2.6.12";

/// Variables, features and versions, as the configuration sees them.
///
/// A copy: `setenv` in a configuration changes this, never the process.
#[derive(Clone, Debug, Default)]
pub struct Environment {
    variables: BTreeMap<Box<[u8]>, Box<[u8]>>,
    features: &'static [(&'static str, bool)],
    tls: Option<TlsLibrary>,
    local_peer_is_fixed: bool,
}

/// The TLS library, for `ssllib_name_startswith` and `openssl_version_*`.
#[derive(Clone, Copy, Debug)]
pub struct TlsLibrary {
    pub name: &'static str,
    /// In OpenSSL's form, `3.0.2` or `1.1.1w`.
    pub version: &'static str,
}

impl Environment {
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes over variables, usually all of the process's.
    #[must_use]
    pub fn with_variables<N, V>(mut self, variables: impl IntoIterator<Item = (N, V)>) -> Self
    where
        N: AsRef<[u8]>,
        V: AsRef<[u8]>,
    {
        for (name, value) in variables {
            self.set(name, value);
        }
        self
    }

    /// What `feature(NAME)` answers; names that are not listed are absent.
    #[must_use]
    pub fn with_features(mut self, features: &'static [(&'static str, bool)]) -> Self {
        self.features = features;
        self
    }

    /// Without one, `ssllib_name_startswith` and both `openssl_version_*` are false.
    #[must_use]
    pub fn with_tls(mut self, library: TlsLibrary) -> Self {
        self.tls = Some(library);
        self
    }

    /// `-L NAME` was given, so that `localpeer` in a file does not change `HAPROXY_LOCALPEER`.
    #[must_use]
    pub fn with_local_peer(mut self, name: &str) -> Self {
        self.set("HAPROXY_LOCALPEER", name);
        self.local_peer_is_fixed = true;
        self
    }

    pub fn set(&mut self, name: impl AsRef<[u8]>, value: impl AsRef<[u8]>) {
        self.variables.insert(name.as_ref().into(), value.as_ref().into());
    }

    pub fn unset(&mut self, name: impl AsRef<[u8]>) {
        self.variables.remove(name.as_ref());
    }

    /// Forgets all variables but those that `keep` names.
    pub fn retain(&mut self, keep: impl Fn(&[u8]) -> bool) {
        self.variables.retain(|name, _| keep(name));
    }

    pub fn get(&self, name: impl AsRef<[u8]>) -> Option<&[u8]> {
        self.variables.get(name.as_ref()).map(|value| &**value)
    }

    /// All variables in the order of their names: what a `program` section's child inherits.
    pub fn variables(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.variables.iter().map(|(name, value)| (&**name, &**value))
    }

    pub fn has_feature(&self, name: &[u8]) -> bool {
        self.features.iter().any(|(known, on)| known.as_bytes() == name && *on)
    }

    pub fn tls(&self) -> Option<TlsLibrary> {
        self.tls
    }

    pub(crate) fn local_peer_is_fixed(&self) -> bool {
        self.local_peer_is_fixed
    }

    /// Replaces `$NAME` and `${NAME}` outside quotes, which HAProxy does in addresses only. An
    /// unset variable is empty. `None` when there is nothing to replace.
    pub fn expand(&self, text: &str) -> Option<String> {
        let mut rest = text;
        let mut out = String::new();
        while let Some(dollar) = rest.find('$') {
            out.push_str(&rest[..dollar]);
            rest = &rest[dollar + 1..];
            let braced = rest.strip_prefix('{');
            let name_and_rest = braced.unwrap_or(rest);
            let len = name_and_rest
                .bytes()
                .position(|byte| !byte.is_ascii_alphanumeric() && byte != b'_')
                .unwrap_or(name_and_rest.len());
            let (name, after) = name_and_rest.split_at(len);
            rest = if braced.is_some() { after.strip_prefix('}').unwrap_or(after) } else { after };
            out.push_str(&String::from_utf8_lossy(self.get(name).unwrap_or_default()));
            if rest.is_empty() {
                return Some(out);
            }
        }
        if rest.len() == text.len() {
            return None;
        }
        out.push_str(rest);
        Some(out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_expand_variables_without_quotes() {
        let environment = Environment::new().with_variables([("A", "10.0.0.1"), ("P", "80")]);
        let expand = |text| environment.expand(text);
        assert_eq!(expand("1.2.3.4:80"), None);
        assert_eq!(expand("$A:80").as_deref(), Some("10.0.0.1:80"));
        assert_eq!(expand("${A}:$P").as_deref(), Some("10.0.0.1:80"));
        assert_eq!(expand("fd@${NO}").as_deref(), Some("fd@"));
        assert_eq!(expand("a$").as_deref(), Some("a"));
        assert_eq!(expand("${A").as_deref(), Some("10.0.0.1"));
    }
}
