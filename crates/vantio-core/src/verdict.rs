//! The answer to an intent.

use core::fmt;

/// What happens to an intent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Decision {
    /// It may happen.
    Permit,
    /// It may not; the anomaly is recorded.
    Collapse,
    /// It may not, because the kill switch is set.
    KillSwitch,
    /// It waits for an approver.
    Hold,
}

impl Decision {
    /// The stable name, as ledgers and messages write it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Permit => "Permit",
            Self::Collapse => "Collapse",
            Self::KillSwitch => "KillSwitch",
            Self::Hold => "Hold",
        }
    }
}

impl fmt::Display for Decision {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

/// A decision and why it was made. Borrows rule texts from the policy program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verdict<'p> {
    /// What happens.
    pub decision: Decision,
    /// The rule, or its absence, that decided.
    pub cause: Cause<'p>,
}

impl Verdict<'_> {
    /// True when the intent may happen.
    pub const fn is_permit(&self) -> bool {
        matches!(self.decision, Decision::Permit)
    }
}

/// A list of rules in a policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Section {
    /// `fs.read`
    FsRead,
    /// `fs.write`
    FsWrite,
    /// `fs.deny`
    FsDeny,
    /// `exec.allow`
    ExecAllow,
    /// `exec.deny`
    ExecDeny,
    /// `net.allow`
    NetAllow,
    /// `net.deny`
    NetDeny,
    /// `tools.allow`
    ToolsAllow,
    /// `tools.deny`
    ToolsDeny,
    /// `infer.models`
    InferModels,
    /// `taint.sources`
    TaintSources,
    /// `taint.sinks`
    TaintSinks,
    /// `taint.sanitizers`
    TaintSanitizers,
    /// `order`
    Order,
    /// `thresholds`
    Thresholds,
    /// `hold`
    Hold,
}

impl Section {
    /// Every section, in declaration order.
    pub const ALL: [Self; 16] = [
        Self::FsRead,
        Self::FsWrite,
        Self::FsDeny,
        Self::ExecAllow,
        Self::ExecDeny,
        Self::NetAllow,
        Self::NetDeny,
        Self::ToolsAllow,
        Self::ToolsDeny,
        Self::InferModels,
        Self::TaintSources,
        Self::TaintSinks,
        Self::TaintSanitizers,
        Self::Order,
        Self::Thresholds,
        Self::Hold,
    ];

    /// Whether it is a list of patterns that refuses.
    pub const fn is_deny(self) -> bool {
        matches!(self, Self::FsDeny | Self::ExecDeny | Self::NetDeny | Self::ToolsDeny)
    }

    /// Whether it holds back what the lists of patterns permit.
    pub const fn is_guard(self) -> bool {
        matches!(
            self,
            Self::TaintSources
                | Self::TaintSinks
                | Self::TaintSanitizers
                | Self::Order
                | Self::Thresholds
                | Self::Hold
        )
    }

    /// The dotted key path in a policy document.
    pub const fn name(self) -> &'static str {
        match self {
            Self::FsRead => "fs.read",
            Self::FsWrite => "fs.write",
            Self::FsDeny => "fs.deny",
            Self::ExecAllow => "exec.allow",
            Self::ExecDeny => "exec.deny",
            Self::NetAllow => "net.allow",
            Self::NetDeny => "net.deny",
            Self::ToolsAllow => "tools.allow",
            Self::ToolsDeny => "tools.deny",
            Self::InferModels => "infer.models",
            Self::TaintSources => "taint.sources",
            Self::TaintSinks => "taint.sinks",
            Self::TaintSanitizers => "taint.sanitizers",
            Self::Order => "order",
            Self::Thresholds => "thresholds",
            Self::Hold => "hold",
        }
    }
}

impl fmt::Display for Section {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

/// Why a verdict is what it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause<'p> {
    /// A rule of the policy, with its text as written.
    Rule {
        /// The list it stands in.
        section: Section,
        /// Its text in the document.
        text: &'p str,
    },
    /// No rule of this list matched.
    Unmatched(Section),
    /// A rule that every policy has; the text says it in a few words.
    Always(&'static str),
    /// The policy only observes, or learns; `would_be` would have refused.
    Observed(Section),
    /// The kill switch is set.
    KillSwitch,
    /// A budget is used up.
    Budget(&'static str),
    /// The process carries a label that must not reach the target.
    Tainted {
        /// The label.
        label: &'p str,
        /// The rule of `taint.sinks`, in its canonical text.
        sink: &'p str,
    },
}

impl fmt::Display for Cause<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Rule { section, text } => write!(formatter, "{section}: {text}"),
            Self::Unmatched(section) => write!(formatter, "nothing in {section} permits it"),
            Self::Always(text) => write!(formatter, "always: {text}"),
            Self::Observed(section) => write!(formatter, "permitted and recorded; {section} would refuse"),
            Self::KillSwitch => formatter.write_str("the kill switch is set"),
            Self::Budget(name) => write!(formatter, "budget {name} is used up"),
            Self::Tainted { label, sink } => {
                write!(formatter, "it carries the label {label}, which taint.sinks keeps from here: {sink}")
            }
        }
    }
}
