//! Writes events as the body of a request, in each format that the edge accepts.

use std::fmt::Write;

use crate::load::args::Format;

/// The source and type of every CloudEvent of this client.
const SOURCE: &str = "mashang-bench";
const TYPE: &str = "mashang.event";

/// A writer of a body.
pub(super) struct Written {
    format: Format,
    batch: u64,
    body: String,
    headers: String,
}

impl Written {
    pub(super) fn new(format: Format, batch: u64) -> Self {
        let body = String::with_capacity(usize::try_from(batch).unwrap_or(1) * 200);
        Self { format, batch, body, headers: String::new() }
    }

    fn is_list(&self) -> bool {
        match self.format {
            Format::Array => true,
            Format::Cloud => self.batch > 1,
            Format::Ndjson | Format::CloudBinary => false,
        }
    }

    /// Begins an event and returns the text to which its other fields are written. Ids need no escapes.
    pub(super) fn begin(&mut self, id: &str) -> &mut String {
        let list = self.is_list();
        let body = &mut self.body;
        match (body.is_empty(), list) {
            (true, true) => body.push('['),
            (false, true) => body.push(','),
            (false, false) => body.push('\n'),
            (true, false) => {}
        }
        // Writing to a string does not fail.
        let _ = match self.format {
            Format::Ndjson | Format::Array => write!(body, r#"{{"id":"{id}","#),
            Format::Cloud => {
                write!(body, r#"{{"specversion":"1.0","id":"{id}","source":"{SOURCE}","type":"{TYPE}","data":{{"#)
            }
            Format::CloudBinary => {
                body.push('{');
                write!(self.headers, "ce-specversion: 1.0\r\nce-id: {id}\r\nce-source: {SOURCE}\r\nce-type: {TYPE}\r\n")
            }
        };
        body
    }

    pub(super) fn end(&mut self) {
        self.body.push_str(if self.format == Format::Cloud { "}}" } else { "}" });
    }

    /// The body, its media type, and further headers.
    pub(super) fn into_parts(mut self) -> (Vec<u8>, &'static str, String) {
        let list = self.is_list();
        if list {
            self.body.push(']');
        }
        let media = match self.format {
            Format::Ndjson if self.batch > 1 => "application/x-ndjson",
            Format::Cloud if list => "application/cloudevents-batch+json",
            Format::Cloud => "application/cloudevents+json",
            Format::Ndjson | Format::Array | Format::CloudBinary => "application/json",
        };
        (self.body.into_bytes(), media, self.headers)
    }
}

#[cfg(test)]
pub(super) mod tests {
    use bumpalo::Bump;
    use wire::event::cloud::{Headers, read_binary, read_structured};
    use wire::event::{Accepted, Merchants, Refused};
    use wire::{batch, event};

    type Read<'h> = dyn for<'a> Fn(&'a [u8], &Merchants, &'a Bump) -> Result<Accepted<'a>, Refused> + 'h;

    /// (id, the rest) of each event of a body, as the edge reads it.
    pub(crate) fn read(body: &[u8], media: &str, headers: &str, merchants: &Merchants) -> Vec<(String, String)> {
        let value = |name: &str| {
            headers.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": ")).map(str::as_bytes)
        };
        let attributes = Headers {
            specversion: value("ce-specversion"),
            id: value("ce-id"),
            source: value("ce-source"),
            kind: value("ce-type"),
            time: value("ce-time"),
        };
        let binary = |body: &[u8]| attributes.id.is_some().then(|| vec![body.to_vec()]);
        let all = |objects: Vec<&[u8]>| objects.into_iter().map(<[u8]>::to_vec).collect::<Vec<_>>();
        let (objects, read): (Vec<Vec<u8>>, Box<Read<'_>>) = match (media, binary(body)) {
            ("application/json", Some(body)) => {
                let headers = attributes;
                (body, Box::new(move |data, merchants, arena| binary_event(&headers, data, merchants, arena)))
            }
            ("application/json", None) => (all(batch::json(body).expect("JSON")), Box::new(event::read)),
            ("application/x-ndjson", _) => {
                let lines = batch::lines(body).map(|line| line.object.expect("a line"));
                (all(lines.collect()), Box::new(event::read))
            }
            ("application/cloudevents+json", _) => (vec![body.to_vec()], Box::new(read_structured)),
            ("application/cloudevents-batch+json", _) => {
                (all(batch::elements(body).expect("an array")), Box::new(read_structured))
            }
            other => panic!("{other:?}"),
        };
        let seen = |object: &Vec<u8>| {
            let arena = Bump::new();
            let event = read(object, merchants, &arena).expect("an event").event;
            (event.id.to_owned(), format!("{event:?}"))
        };
        objects.iter().map(seen).collect()
    }

    fn binary_event<'a>(
        headers: &Headers<'_>,
        data: &'a [u8],
        merchants: &Merchants,
        arena: &'a Bump,
    ) -> Result<Accepted<'a>, Refused> {
        read_binary(headers, data, merchants, arena)
    }
}
