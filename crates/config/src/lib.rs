//! The configuration language: text to tokens with places, tokens to sections, and the machinery
//! with which a plane turns the lines of its sections into something typed.
//!
//! It is HAProxy's language (version 2.6). This crate knows the grammar (quoting, variables,
//! `.if` blocks, sections, the inheritance of `defaults`) and the forms of single values (times,
//! sizes, addresses); it does not know what a `frontend` is. Each plane brings a table of
//! [`Keyword`]s, which is also what the manual and the completions are made from.
//!
//! ```text
//! Source::load ──> read ──> Vec<Section> ──> resolve_defaults
//!                                 └─ for each line: Checker::dispatch(&table, …) ──> your type
//!             every step ──> Diagnostics ──> render
//! ```
//!
//! No step stops at the first mistake: all of them go to [`Diagnostics`], which sorts and renders
//! them. Nothing here opens a file, asks for the time or resolves a name; files come through
//! [`Files`], variables through [`Environment`].
//!
//! Text is bytes in HAProxy. A [`Token`] therefore has `bytes`, exact, and `text`, the same as
//! UTF-8 with each invalid sequence replaced by U+FFFD. Keywords, names and numbers compare
//! `text`; whatever goes on the wire (bodies, header values, check payloads) uses `bytes`.

mod address;
mod args;
mod condition;
mod defaults;
mod diagnostics;
mod environment;
mod keyword;
mod lexer;
mod manual;
mod nearest;
mod reader;
mod section;
mod source;
mod value;

pub use address::{
    Address, AddressError, AddressRules, Family, Host, Port, PortRule, Transport, parse_address,
};
pub use args::{Amount, Args, Modifier};
pub use condition::{ConditionError, ConditionErrorKind, evaluate};
pub use defaults::resolve_defaults;
pub use diagnostics::{
    Class, ConfigError, ConfigErrorKind, Diagnostics, Explanation, Mistake, ReadError, Severity,
    Style,
};
pub use environment::{Environment, TlsLibrary, VERSION};
pub use keyword::{Checker, Keyword, Parse, Status, Table};
pub use manual::markdown;
pub use nearest::nearest;
pub use reader::{check_condition, environment_keywords, read};
pub use section::{Line, Named, Section, SectionSpec, Sections, Token, Written};
pub use source::{FileId, Files, Location, Source};
pub use value::{
    ValueError, invalid_name_char, parse_duration, parse_integer, parse_size, parse_time,
};
