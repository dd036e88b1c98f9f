//! What a command says when it cannot do what it was asked.

use std::{
    error::Error,
    fmt,
    io::{self, IsTerminal as _, Write as _},
};

use miette::{Diagnostic, GraphicalReportHandler, GraphicalTheme};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use vantio_identity::IdentityError;
use vantio_ledger::{LedgerError, ProveError, PublishError, bundle::PackError};
use vantio_phantom::LaunchError;
use vantio_policy::{PolicyError, Problem};

use crate::present;

/// How a failure shows in the exit status.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Something went wrong.
    Failed,
    /// The command cannot mean anything.
    Misused,
    /// What was checked is not as it should be.
    Unverified,
    /// This signal asked for an end.
    Interrupted(u8),
}

/// One screen: what happened, why, and what to do next.
#[derive(Debug)]
pub struct Failure(Box<Parts>);

#[derive(Debug)]
struct Parts {
    kind: Kind,
    code: String,
    message: String,
    cause: Option<Box<dyn Error + Send + Sync>>,
    help: Option<String>,
    document: Option<PolicyError>,
}

impl Failure {
    /// Something went wrong: a stable code and what happened.
    pub fn new(code: &str, message: impl fmt::Display) -> Self {
        Self(Box::new(Parts {
            kind: Kind::Failed,
            code: code.to_owned(),
            message: message.to_string(),
            cause: None,
            help: None,
            document: None,
        }))
    }

    /// The command cannot mean anything.
    pub fn misuse(code: &str, message: impl fmt::Display) -> Self {
        Self::new(code, message).of_kind(Kind::Misused)
    }

    /// What was checked is not as it should be.
    pub fn unverified(code: &str, message: impl fmt::Display) -> Self {
        Self::new(code, message).of_kind(Kind::Unverified)
    }

    /// It is the command that cannot mean anything.
    pub fn misused(self) -> Self {
        self.of_kind(Kind::Misused)
    }

    /// It was this signal that ended it.
    pub fn interrupted(self, signal: u8) -> Self {
        self.of_kind(Kind::Interrupted(signal))
    }

    fn of_kind(mut self, kind: Kind) -> Self {
        self.0.kind = kind;
        self
    }

    /// Adds why it happened.
    pub fn because(mut self, cause: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        self.0.cause = Some(cause.into());
        self
    }

    /// Adds what to do next; an empty text adds nothing.
    pub fn help(mut self, help: impl fmt::Display) -> Self {
        self.0.help = Some(help.to_string()).filter(|help| !help.is_empty());
        self
    }

    /// The exit status. `run` leaves every other number to the program.
    pub fn exit_code(&self, is_run: bool) -> u8 {
        match self.0.kind {
            _ if is_run => 125,
            Kind::Failed => 1,
            Kind::Misused => 2,
            Kind::Unverified => 3,
            Kind::Interrupted(signal) => 128 + signal,
        }
    }

    /// Prints to standard error, as text or as one line of JSON.
    pub fn print(&self, as_json: bool) {
        let text = if as_json { format!("{}\n", self.to_json()) } else { self.to_text() };
        // Nobody is left to tell when the message itself cannot be written.
        drop(io::stderr().lock().write_all(text.as_bytes()));
    }

    /// What another process can tell of it.
    pub fn told(&self) -> Told {
        let mut causes = Vec::new();
        let mut cause = Error::source(self);
        while let Some(error) = cause {
            causes.push(error.to_string());
            cause = error.source();
        }
        Told {
            code: self.0.code.clone(),
            message: self.0.message.clone(),
            causes,
            help: self.0.help.clone().unwrap_or_default(),
        }
    }

    fn shown(&self) -> &dyn Diagnostic {
        match &self.0.document {
            Some(document) => document,
            None => self,
        }
    }

    fn to_text(&self) -> String {
        let theme = match (present::has_colour(&io::stderr()), io::stderr().is_terminal()) {
            (true, _) => GraphicalTheme::unicode(),
            (false, true) => GraphicalTheme::unicode_nocolor(),
            (false, false) => {
                GraphicalTheme { characters: miette::ThemeCharacters::ascii(), ..GraphicalTheme::none() }
            }
        };
        let handler = GraphicalReportHandler::new_themed(theme)
            .with_width(present::width(io::stderr()).map_or(UNWRAPPED, |width| width.clamp(60, 100)))
            .with_break_words(false)
            .with_links(false);
        let mut text = String::new();
        if handler.render_report(&mut text, self.shown()).is_err() {
            text = format!("{}: {self}\n", self.0.code);
        }
        // So begins each of several problems, and a single one does not.
        text.replace("\nError: ", "\n")
    }

    /// What is printed as JSON.
    pub fn to_json(&self) -> Value {
        let shown = self.shown();
        let mut detail = shown.to_string();
        let mut cause = self.0.cause.as_deref().map(|cause| cause as &dyn Error);
        while let Some(error) = cause {
            detail = format!("{detail}: {error}");
            cause = error.source();
        }
        let next_steps: Vec<String> = shown.help().map(|help| help.to_string()).into_iter().collect();
        let mut object =
            json!({ "version": 1, "error": self.0.code, "detail": detail, "next_steps": next_steps });
        if let Some(document) = &self.0.document {
            object["file"] = document.file_name().into();
            object["problems"] = document.problems().iter().map(problem_json).collect();
        }
        object
    }
}

/// A failure of another process of the same command.
#[derive(Debug, Serialize, Deserialize)]
pub struct Told {
    code: String,
    message: String,
    causes: Vec<String>,
    help: String,
}

/// Why it failed there.
#[derive(Debug, thiserror::Error)]
#[error("{text}")]
struct Cause {
    text: String,
    source: Option<Box<Self>>,
}

impl From<Told> for Failure {
    fn from(told: Told) -> Self {
        let chain =
            told.causes.into_iter().rev().fold(None, |source, text| Some(Box::new(Cause { text, source })));
        let failure = Self::new(&told.code, told.message).help(told.help);
        match chain {
            Some(cause) => failure.because(cause),
            None => failure,
        }
    }
}

fn problem_json(problem: &Problem) -> Value {
    let place = problem.place.as_ref();
    json!({
        "error": problem.code,
        "detail": problem.message,
        "help": problem.help,
        "line": place.map(|place| place.line),
        "column": place.map(|place| place.column),
    })
}

impl From<PolicyError> for Failure {
    fn from(error: PolicyError) -> Self {
        let code = error.code().map_or_else(String::new, |code| code.to_string());
        let mut failure = Self::new(&code, "");
        failure.0.document = Some(error);
        failure
    }
}

impl From<LedgerError> for Failure {
    fn from(error: LedgerError) -> Self {
        Self::new(error.code(), &error).help(error.help())
    }
}

impl From<ProveError> for Failure {
    fn from(error: ProveError) -> Self {
        Self::new(error.code(), &error).help(error.help())
    }
}

impl From<PublishError> for Failure {
    fn from(error: PublishError) -> Self {
        Self::new(error.code(), &error).help(error.help())
    }
}

impl From<PackError> for Failure {
    fn from(error: PackError) -> Self {
        Self::new(error.code(), &error).help(error.help())
    }
}

impl From<IdentityError> for Failure {
    fn from(error: IdentityError) -> Self {
        Self::new(error.code(), &error).help(error.help())
    }
}

impl From<LaunchError> for Failure {
    fn from(error: LaunchError) -> Self {
        Self::new(&error.code, &error.what).because(error.cause).help(error.help)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0.message)
    }
}

impl Error for Failure {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.0.cause.as_deref().map(|cause| cause as &(dyn Error + 'static))
    }
}

impl Diagnostic for Failure {
    fn code<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        Some(Box::new(&self.0.code))
    }

    fn help<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        self.0.help.as_ref().map(|help| Box::new(help) as Box<dyn fmt::Display>)
    }
}

/// Columns of a line that is never broken: logs and pipes have no edge.
const UNWRAPPED: usize = 4096;
