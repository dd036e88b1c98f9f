//! From what a person types to an intent.
//!
//! Paths are normalised by their text alone: `//` and `.` go, `..` is refused, because where it
//! leads is not in the text.

use alloc::{borrow::ToOwned, string::String, vec::Vec};
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use vantio_core::{Access, Effect, Endpoint, Intent, Labels, Section, Target, Transport};

use crate::{
    Bindings, PolicyProgram, State, names,
    net::{Host, NetPattern, is_localhost},
    rule::Pattern,
};

/// What a person asks about.
#[derive(Clone, Copy, Debug)]
pub struct Wish<'a> {
    /// The kind of action.
    pub effect: Effect,
    /// What it acts on, as typed.
    pub target: &'a str,
    /// The new name of a rename or hard link.
    pub to: Option<&'a str>,
    /// What a file is opened for.
    pub access: Access,
    /// Whether everything below a directory is meant.
    pub subtree: bool,
    /// Whether a datagram is meant.
    pub is_udp: bool,
    /// The labels that the process carries.
    pub labels: Labels,
}

/// An intent with what it borrows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Question {
    effect: Effect,
    subject: Subject,
    labels: Labels,
}

/// A target that owns what it names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Subject {
    /// See [`Target::Path`].
    Path {
        /// Canonical.
        path: Vec<u8>,
        /// What for.
        access: Access,
        /// Whether everything below is meant.
        subtree: bool,
    },
    /// See [`Target::Paths`].
    Paths {
        /// The existing name.
        from: Vec<u8>,
        /// The new name.
        to: Vec<u8>,
        /// Whether everything below is meant.
        subtree: bool,
    },
    /// See [`Target::Endpoint`].
    Endpoint {
        /// The address.
        endpoint: Endpoint,
        /// The name that led to it.
        name: Option<String>,
    },
    /// See [`Target::Name`].
    Name(String),
    /// See [`Target::Unix`].
    Unix(Vec<u8>),
    /// See [`Target::Named`].
    Named(String),
    /// See [`Target::Process`].
    Process(u32),
    /// See [`Target::Syscall`].
    Syscall(String),
}

impl Subject {
    /// The target.
    pub fn target(&self) -> Target<'_> {
        match self {
            Self::Path { path, access, subtree } => Target::Path { path, access: *access, subtree: *subtree },
            Self::Paths { from, to, subtree } => Target::Paths { from, to, subtree: *subtree },
            Self::Endpoint { endpoint, .. } => Target::Endpoint(*endpoint),
            Self::Name(name) => Target::Name(name),
            Self::Unix(path) => Target::Unix(path),
            Self::Named(name) => Target::Named(name),
            Self::Process(number) => Target::Process(*number),
            Self::Syscall(name) => Target::Syscall(name),
        }
    }
}

/// Why what was typed is no target.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct QuestionError {
    message: String,
    help: String,
}

impl QuestionError {
    /// What to type instead.
    pub fn help(&self) -> &str {
        &self.help
    }
}

impl Question {
    /// Reads a wish. `find_program` gives the path of a bare program name; names are mapped to
    /// A-labels by `map_name`. A name to connect to is judged as if it had led to a public
    /// address that no rule speaks of, `localhost` as loopback: `state` learns it.
    ///
    /// # Errors
    ///
    /// A target that the effect cannot have, or one that is not canonical and cannot be made so.
    pub fn new(
        wish: &Wish<'_>,
        program: &PolicyProgram,
        bindings: &Bindings,
        state: &mut State,
        find_program: impl Fn(&str) -> Option<Vec<u8>>,
        map_name: impl Fn(&str) -> Option<String>,
    ) -> Result<Self, QuestionError> {
        let Wish { effect, target, access, subtree, .. } = *wish;
        let subject = match effect {
            Effect::FsRename | Effect::FsLink => {
                let to = wish.to.ok_or_else(|| {
                    wrong("a rename or hard link has two names", "add the new one: --to PATH")
                })?;
                Subject::Paths { from: path(target, bindings)?, to: path(to, bindings)?, subtree }
            }
            Effect::ProcExec if is_bare(target) => {
                let path = find_program(target).ok_or_else(|| {
                    wrong(&alloc::format!("PATH has no program `{target}`"), "name the program by its path")
                })?;
                Subject::Path { path, access: Access::Read, subtree: false }
            }
            Effect::NetConnect | Effect::NetBind | Effect::NetListen => {
                connection(wish, program, bindings, state, map_name)?
            }
            Effect::NetDns => Subject::Name(domain(target, map_name)?),
            Effect::ToolCall | Effect::Infer | Effect::HeapRead | Effect::HeapWrite | Effect::IpcSend => {
                Subject::Named(target.to_owned())
            }
            Effect::ProcSignal => Subject::Process(target.parse().map_err(|_| {
                wrong("a process is a number", "give its number inside the run; 0 is one outside of it")
            })?),
            Effect::ProcSyscall => {
                return Err(wrong(
                    "the policy does not decide system calls",
                    "SPECIFICATION.md lists who answers each",
                ));
            }
            Effect::FsOpen => Subject::Path { path: path(target, bindings)?, access, subtree },
            Effect::FsStat | Effect::ProcExec => {
                Subject::Path { path: path(target, bindings)?, access: Access::Read, subtree: false }
            }
            _ => Subject::Path { path: path(target, bindings)?, access: Access::Write, subtree },
        };
        Ok(Self { effect, subject, labels: wish.labels })
    }

    /// The kind of action.
    pub const fn effect(&self) -> Effect {
        self.effect
    }

    /// What it acts on.
    pub const fn subject(&self) -> &Subject {
        &self.subject
    }

    /// The intent.
    pub fn intent(&self) -> Intent<'_> {
        let mut intent = Intent::new(self.effect, self.subject.target());
        intent.context.labels = self.labels;
        intent
    }

    /// The target as it is judged, for a person; of a name to connect to, the name.
    pub fn target(&self) -> String {
        let text = |path: &[u8]| String::from_utf8_lossy(path).into_owned();
        match &self.subject {
            Subject::Path { path, .. } => text(path),
            Subject::Paths { from, to, .. } => alloc::format!("{} → {}", text(from), text(to)),
            Subject::Endpoint { endpoint, name } => {
                let scheme = if endpoint.transport == Transport::Udp { "udp://" } else { "" };
                match name {
                    Some(name) => alloc::format!("{scheme}{name}:{}", endpoint.address.port()),
                    None => alloc::format!("{scheme}{}", endpoint.address),
                }
            }
            Subject::Name(name) | Subject::Named(name) | Subject::Syscall(name) => name.clone(),
            Subject::Unix(path) => alloc::format!("unix:{}", text(path)),
            Subject::Process(number) => alloc::format!("process {number}"),
        }
    }

    /// The paths of the target, for a caller that resolves them on its host.
    pub fn paths_mut(&mut self) -> impl Iterator<Item = &mut Vec<u8>> {
        let (first, second) = match &mut self.subject {
            Subject::Path { path, .. } | Subject::Unix(path) => (Some(path), None),
            Subject::Paths { from, to, .. } => (Some(from), Some(to)),
            _ => (None, None),
        };
        first.into_iter().chain(second)
    }

    /// Whether the target is a path, or two of them.
    pub const fn has_path(&self) -> bool {
        matches!(self.subject, Subject::Path { .. } | Subject::Paths { .. } | Subject::Unix(_))
    }

    /// The name that a public address stands in for.
    pub fn assumed_name(&self) -> Option<&str> {
        match &self.subject {
            Subject::Endpoint { endpoint, name } if !endpoint.address.ip().is_loopback() => name.as_deref(),
            _ => None,
        }
    }

    /// Whether a name is looked up that means this host wherever it is asked for.
    pub fn is_about_localhost(&self) -> bool {
        matches!(&self.subject, Subject::Name(name) if is_localhost(name))
    }
}

fn wrong(message: &str, help: impl Into<String>) -> QuestionError {
    QuestionError { message: message.to_owned(), help: help.into() }
}

fn is_bare(target: &str) -> bool {
    !target.is_empty() && !target.contains('/') && !target.starts_with(['~', '$']) && !target.contains('\0')
}

/// An absolute path without `//`, `.` and a trailing slash, variables replaced.
fn path(text: &str, bindings: &Bindings) -> Result<Vec<u8>, QuestionError> {
    let variables = [
        ("${workspace}", &bindings.workspace),
        ("${home}", &bindings.home),
        ("${tmp}", &bindings.tmp),
        ("~", &bindings.home),
    ];
    let mut bytes = Vec::new();
    let mut rest = text;
    for (variable, value) in variables {
        if let Some(after) =
            text.strip_prefix(variable).filter(|after| after.is_empty() || after.starts_with('/'))
        {
            bytes.extend_from_slice(value);
            rest = after;
            break;
        }
    }
    bytes.extend_from_slice(rest.as_bytes());
    if bytes.first() != Some(&b'/') {
        return Err(relative(text));
    }
    if bytes.contains(&0) {
        return Err(wrong("a path has no NUL in it", "remove it"));
    }
    let mut path = Vec::new();
    for name in bytes.split(|byte| *byte == b'/') {
        match name {
            b"" | b"." => {}
            b".." => {
                return Err(wrong(
                    &alloc::format!("`{text}` has `..` in it"),
                    "write the path that it leads to: only a disk knows that",
                ));
            }
            name => {
                path.push(b'/');
                path.extend_from_slice(name);
            }
        }
    }
    if path.is_empty() {
        path.push(b'/');
    }
    Ok(path)
}

/// Why a text that begins with no `/` is no path.
fn relative(text: &str) -> QuestionError {
    if let Some((name, _)) = text.strip_prefix("${").and_then(|text| text.split_once('}'))
        && !matches!(name, "workspace" | "home" | "tmp")
    {
        let message = alloc::format!("there is no variable `${{{name}}}`");
        return wrong(&message, "the variables are `${workspace}`, `${home}` and `${tmp}`");
    }
    let message = alloc::format!("`{text}` is no absolute path");
    let is_plain = text.starts_with(|character: char| character.is_alphanumeric() || character == '_');
    let own = text.strip_prefix("./").or_else(|| Some(text).filter(|_| is_plain || is_dotted(text)));
    match own.filter(|own| !own.split('/').any(|name| name == "..")) {
        Some(own) => wrong(&message, alloc::format!("write `${{workspace}}/{own}`")),
        None => wrong(&message, "begin it with `/`, `~/`, `${workspace}/` or `${tmp}/`"),
    }
}

/// Whether a text begins with a name such as `.env`.
fn is_dotted(text: &str) -> bool {
    text.strip_prefix('.').is_some_and(|rest| rest.starts_with(char::is_alphanumeric))
}

fn domain(text: &str, map_name: impl Fn(&str) -> Option<String>) -> Result<String, QuestionError> {
    let name = map_name(text.strip_suffix('.').unwrap_or(text)).filter(|name| names::is_canonical(name));
    name.ok_or_else(|| {
        let help = if text.contains('*') {
            "name one host: no `*` in it"
        } else {
            "write it without scheme, port and path"
        };
        wrong(&alloc::format!("`{text}` is not a domain name"), help)
    })
}

fn connection(
    wish: &Wish<'_>,
    program: &PolicyProgram,
    bindings: &Bindings,
    state: &mut State,
    map_name: impl Fn(&str) -> Option<String>,
) -> Result<Subject, QuestionError> {
    if let Some(socket) = wish.target.strip_prefix("unix:") {
        return Ok(Subject::Unix(path(socket, bindings)?));
    }
    let (is_udp, text) =
        wish.target.strip_prefix("udp://").map_or((wish.is_udp, wish.target), |text| (true, text));
    let transport = if is_udp { Transport::Udp } else { Transport::Tcp };
    if let Ok(address) = text.parse::<SocketAddr>() {
        let address = SocketAddr::new(address.ip().to_canonical(), address.port());
        return Ok(Subject::Endpoint {
            endpoint: Endpoint { transport, address, in_run: false },
            name: None,
        });
    }
    let port = text.rsplit_once(':').and_then(|(host, port)| Some((host, port.parse::<u16>().ok()?)));
    let Some((host, port)) = port.filter(|_| text.parse::<IpAddr>().is_err()) else {
        let help = if let Ok(address) = text.parse::<IpAddr>() {
            alloc::format!("add the port: `{}`", SocketAddr::new(address, 443))
        } else if domain(text, &map_name).is_ok() {
            alloc::format!("add the port: `{text}:443`")
        } else {
            "write `example.com:443`, `10.0.0.1:5432`, `[2001:db8::1]:443` or `unix:/run/x.sock`".to_owned()
        };
        return Err(wrong(&alloc::format!("`{text}` is no host and port"), help));
    };
    let name = domain(host, &map_name)?;
    let ip = if is_localhost(&name) { Ipv4Addr::LOCALHOST.into() } else { stand_in(program, state) };
    let address = SocketAddr::new(ip, port);
    state.learn_name(&name, address.ip(), u64::MAX);
    Ok(Subject::Endpoint { endpoint: Endpoint { transport, address, in_run: false }, name: Some(name) })
}

/// A public address that no rule is about, as far as there is one.
fn stand_in(program: &PolicyProgram, state: &State) -> IpAddr {
    let is_free = |address: IpAddr| {
        let lists = [Section::NetAllow, Section::NetDeny];
        !state.is_reserved(address)
            && state.names_of(address).next().is_none()
            && !lists.into_iter().flat_map(|section| program.rules(section)).any(|rule| match &rule.pattern {
                Pattern::Net(NetPattern::Endpoint(pattern)) => {
                    matches!(&pattern.host, Host::Block(block) if block.contains(address))
                }
                _ => false,
            })
    };
    let candidates = (1..=223u8).flat_map(|first| {
        let v4 = Ipv4Addr::new(first, 0x5a, 0x17, 0x2b);
        let v6 = Ipv6Addr::new(0x2600 + u16::from(first), 0, 0, 0, 0, 0, 0, 0x172b);
        [IpAddr::V4(v4), IpAddr::V6(v6)]
    });
    candidates.into_iter().find(|address| is_free(*address)).unwrap_or(Ipv4Addr::new(93, 90, 23, 43).into())
}

/// The set of the labels of these names, or the first name that the policy does not have.
///
/// # Errors
///
/// A name of which the policy does not speak.
pub fn labels<'a>(program: &PolicyProgram, names: &'a [String]) -> Result<Labels, &'a str> {
    names.iter().try_fold(Labels::NONE, |labels, name| {
        let number = program.parts.guards.labels.iter().position(|label| label == name);
        let number = number.and_then(|number| u8::try_from(number).ok()).ok_or(name.as_str())?;
        Ok(labels.union(Labels::single(number)))
    })
}

/// Maps a name to A-labels (UTS 46, non-transitional), as documents do.
#[cfg(feature = "document")]
pub fn to_a_labels(name: &str) -> Option<String> {
    use idna::uts46::{AsciiDenyList, DnsLength, Hyphens, Uts46};
    let mapped =
        Uts46::new().to_ascii(name.as_bytes(), AsciiDenyList::EMPTY, Hyphens::Allow, DnsLength::Ignore);
    mapped.ok().map(alloc::borrow::Cow::into_owned)
}

/// The name that is nearest to a text, where one is near enough to be meant.
#[cfg(feature = "document")]
pub fn nearest_name<'a>(text: &str, names: &[&'a str]) -> Option<&'a str> {
    crate::document::nearest(text, names)
}
