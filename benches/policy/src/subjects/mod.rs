//! Who is measured: Vantio's decision and its peers, each given the same rules and asked the same.

mod cedar;
mod rego;
mod vantio;

use std::{hint::black_box, time::Instant};

use crate::{
    requests::{Request, Scene},
    rules::Rule,
};

/// Something that answers requests.
pub trait Subject {
    /// Whether the request is permitted: everything from the request's bytes on.
    fn permits(&mut self, request: &Request) -> bool;

    /// Requests that are timed together, so that reading the clock does not count.
    fn batch(&self) -> usize {
        1
    }

    /// The program in its canonical bytes, where there are such.
    fn canonical_bytes(&self) -> Option<usize> {
        None
    }

    /// Asks every request once; nanoseconds a decision, one sample a batch.
    fn sample(&mut self, requests: &[Request], samples: &mut Vec<f64>) {
        for batch in requests.chunks(self.batch()) {
            let start = Instant::now();
            for request in batch {
                black_box(self.permits(black_box(request)));
            }
            samples.push(start.elapsed().as_nanos() as f64 / batch.len() as f64);
        }
    }
}

/// How a subject is told the rules.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// This project.
    Ours,
    /// One rule of its language for each rule, as its users write them.
    AsWritten,
    /// Whatever makes it fastest.
    Fastest,
}

/// A kind of subject.
#[derive(Clone, Copy)]
pub struct Kind {
    /// The stable name.
    pub name: &'static str,
    /// How it is told the rules.
    pub form: Form,
    /// What a reader of the table should know.
    pub note: &'static str,
    /// The documents that it compiles.
    pub write: fn(&[Rule]) -> String,
    /// From the documents to what decides, or why not.
    pub prepare: Prepare,
}

type Prepare = fn(&str, &[Rule], &Scene) -> Result<Box<dyn Subject>, String>;

/// Every subject, ours first.
pub const ALL: [Kind; 7] = [
    Kind {
        name: "vantio",
        form: Form::Ours,
        note: "`decide` on a policy of one document",
        write: vantio::write,
        prepare: vantio::prepare,
    },
    Kind {
        name: "cedar",
        form: Form::AsWritten,
        note: "cedar-policy, one policy for each rule, `like` on the path",
        write: cedar::write,
        prepare: cedar::prepare_whole,
    },
    Kind {
        name: "cedar-sliced",
        form: Form::Fastest,
        note: "the host finds the policies of a request in hash tables and makes a set of them",
        write: cedar::write,
        prepare: cedar::prepare_sliced,
    },
    Kind {
        name: "cedar-kept",
        form: Form::Fastest,
        note: "the same, and the host keeps every set that it has made",
        write: cedar::write,
        prepare: cedar::prepare_kept,
    },
    Kind {
        name: "regorus",
        form: Form::AsWritten,
        note: "regorus' engine, one Rego rule for each rule, `startswith` on the path",
        write: rego::write,
        prepare: rego::prepare_engine,
    },
    Kind {
        name: "regorus-rvm",
        form: Form::AsWritten,
        note: "the same rules on regorus' virtual machine",
        write: rego::write,
        prepare: rego::prepare_machine,
    },
    Kind {
        name: "regorus-indexed",
        form: Form::Fastest,
        note: "the virtual machine looks up in data what the host has split into keys",
        write: rego::write_index,
        prepare: rego::prepare_indexed,
    },
];
