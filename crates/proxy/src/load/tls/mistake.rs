//! What is wrong with a line about TLS, or with a file that it names.

use telamon_config::{Class, ConfigErrorKind, Explanation, Mistake};

/// A mistake, and the way out.
#[derive(Debug)]
pub(in crate::load) struct TlsMistake {
    title: String,
    help: String,
    class: Class,
}

impl TlsMistake {
    /// The text is wrong.
    pub(in crate::load) fn language(title: String, help: impl Into<String>) -> Self {
        Self { title, help: help.into(), class: Class::Language }
    }

    /// A file is.
    pub(in crate::load) fn environment(title: String, help: impl Into<String>) -> Self {
        Self { title, help: help.into(), class: Class::Environment }
    }

    /// Says which file.
    #[must_use]
    pub(in crate::load) fn of_file(mut self, path: &str) -> Self {
        self.title = format!("`{path}`: {}", self.title);
        self
    }
}

impl Mistake for TlsMistake {
    fn explain(&self) -> Explanation {
        let explanation = Explanation::new(self.title.clone());
        if self.help.is_empty() { explanation } else { explanation.help(self.help.clone()) }
    }

    fn class(&self) -> Class {
        self.class
    }
}

impl From<TlsMistake> for ConfigErrorKind {
    fn from(mistake: TlsMistake) -> Self {
        Self::Plane(Box::new(mistake))
    }
}
