//! What a client of name servers says and hears: names, questions, answers, and when to ask again.
//!
//! ```text
//! Lookup::handle_timeout ──> Ask(kind) ──> write_query ──> name servers
//!       ^                                                      │
//!       └── Lookup::handle_answer <── read_answer <────────────┘
//! ```
//!
//! Bytes in, bytes out; time is an argument (milliseconds of any clock that does not go back). Only what a proxy asks
//! for is understood: A, AAAA and SRV records, and the CNAME records on the way to them. Not here: serving, zones,
//! DNSSEC.

mod lookup;
mod message;
mod name;
mod records;
mod resolv_conf;

pub use lookup::{Event, Hold, Lookup, Schedule, Status};
pub use message::{
    Answer, AnswerError, Data, Kind, Question, Record, message_id, read_answer, write_query,
};
pub use name::{Name, NameError};
pub use records::Records;
pub use resolv_conf::{ResolvConf, parse_resolv_conf};
