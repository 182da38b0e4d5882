//! Writing a head as HTTP/1.

use super::{Head, Kind, Method, Span, Version, to_u32};
use crate::bytes::push_u64;

impl Head {
    /// Appends the head with its edits, final empty line included: [`Head::len`] bytes. Runs of
    /// lines that stand in the input as they are to be sent are copied at once.
    ///
    /// A head that came by HTTP/2 or 3 is written as HTTP/1.1.
    pub fn write_to(&self, out: &mut Vec<u8>) {
        out.reserve(self.len());
        let mut run = self.start_line;
        if run.len == 0 {
            self.write_start_line(out);
        }
        for field in &self.fields {
            if !field.verbatim {
                out.extend_from_slice(self.text(run));
                run = Span::default();
                out.extend_from_slice(self.name_of(field));
                out.extend_from_slice(b": ");
                out.extend_from_slice(self.written_value_of(field));
                out.extend_from_slice(b"\r\n");
            } else if field.name_at == run.at + run.len {
                run.len += field.size();
            } else {
                out.extend_from_slice(self.text(run));
                run = Span { at: field.name_at, len: field.size() };
            }
        }
        if self.head_len != 0 && run.at + run.len + 2 == self.head_len {
            run.len += 2;
            out.extend_from_slice(self.text(run));
        } else {
            out.extend_from_slice(self.text(run));
            out.extend_from_slice(b"\r\n");
        }
    }

    fn write_start_line(&self, out: &mut Vec<u8>) {
        match self.kind {
            Kind::Request => {
                out.extend_from_slice(self.text(self.word));
                out.push(b' ');
                out.extend_from_slice(self.wire_target());
                out.push(b' ');
                out.extend_from_slice(self.wire_version());
            }
            Kind::Response => {
                out.extend_from_slice(self.wire_version());
                out.push(b' ');
                push_u64(out, u64::from(self.status));
                out.push(b' ');
                out.extend_from_slice(self.text(self.word));
            }
        }
        out.extend_from_slice(b"\r\n");
    }

    pub(super) fn start_line_size(&self) -> u32 {
        match self.kind {
            Kind::Request => self.word.len + to_u32(self.wire_target().len()) + 12,
            Kind::Response => self.word.len + 15,
        }
    }

    /// The target as HTTP/1 is sent it.
    pub(super) fn wire_target(&self) -> &[u8] {
        if !self.normalized {
            return self.text(self.target);
        }
        match self.path_and_query() {
            b"" if self.method_kind == Method::Options => b"*",
            b"" => b"/",
            rest => rest,
        }
    }

    fn wire_version(&self) -> &'static [u8] {
        match self.version {
            Version::Http10 => b"HTTP/1.0",
            _ => b"HTTP/1.1",
        }
    }
}
