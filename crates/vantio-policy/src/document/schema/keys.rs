//! The keys that a document has: what the parser accepts, what it suggests, and what the
//! JSON Schema says. There is no other list of them.

use super::limits::LIMITS;
use crate::{Backend, CommitMode, Details, Export, Mode, Speculation, Viewing};

/// A mapping with known keys.
pub(in crate::document) struct Mapping {
    /// What messages call it.
    pub(in crate::document) name: &'static str,
    pub(in crate::document) about: &'static str,
    pub(in crate::document) keys: &'static [Key],
    pub(in crate::document) needs: Needs,
}

/// What a mapping needs beyond the keys that are required one by one.
#[derive(Clone, Copy)]
pub(in crate::document) enum Needs {
    Nothing,
    /// One of these keys, and only one.
    One(&'static [&'static str]),
    /// One of these keys or several.
    Some(&'static [&'static str]),
}

/// A key of a mapping.
pub(in crate::document) struct Key {
    pub(in crate::document) name: &'static str,
    pub(in crate::document) about: &'static str,
    pub(in crate::document) shape: Shape,
    pub(in crate::document) is_required: bool,
}

/// What stands under a key.
pub(in crate::document) enum Shape {
    Version,
    Boolean,
    /// A whole number from the first to the second.
    Integer(u64, u64),
    /// Dollars with at most six decimal places.
    Cost,
    Text(Text),
    Choice(&'static [&'static str]),
    /// A list of at most so many.
    List(&'static Shape, usize),
    Mapping(&'static Mapping),
    /// From names of variables to their values.
    Variables,
    /// From effects to one of these.
    Effects(&'static [&'static str]),
    Either(&'static [Shape]),
}

/// What a string is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::document) enum Text {
    Name,
    Path,
    /// A path, or `${credentials}`.
    DeniedPath,
    Program,
    Network,
    Domain,
    /// A tool, model or heap type, in which `*` stands for any characters.
    Named,
    /// A model.
    Model,
    VariablePattern,
    Label,
    Role,
    Effect,
    Duration,
    /// Bytes with a unit.
    Size,
    /// Percent of one processor.
    Share,
    /// A pattern whose family follows the effect.
    Target,
    Include,
    /// Anything that is not empty.
    Plain,
}

pub(super) const fn key(name: &'static str, about: &'static str, shape: Shape) -> Key {
    Key { name, about, shape, is_required: false }
}

const fn required(name: &'static str, about: &'static str, shape: Shape) -> Key {
    Key { name, about, shape, is_required: true }
}

pub(super) const fn mapping(name: &'static str, about: &'static str, keys: &'static [Key]) -> Mapping {
    Mapping { name, about, keys, needs: Needs::Nothing }
}

/// Elements of a list of patterns.
pub(in crate::document) const MAX_RULES: usize = crate::codec::MAX_RULES;
/// Entries of a list of guards.
pub(in crate::document) const MAX_GUARDS: usize = 256;

/// Milliseconds that a duration may have: a year.
pub(in crate::document) const MAX_DURATION: u64 = 366 * 24 * 60 * 60 * 1000;

const PATHS: Shape = Shape::List(&Shape::Text(Text::Path), MAX_RULES);
const DENIED_PATHS: Shape = Shape::List(&Shape::Text(Text::DeniedPath), MAX_RULES);
const PROGRAMS: Shape = Shape::List(&Shape::Text(Text::Program), MAX_RULES);
const NETWORK: Shape = Shape::List(&Shape::Text(Text::Network), MAX_RULES);
const DOMAINS: Shape = Shape::List(&Shape::Text(Text::Domain), MAX_RULES);
const NAMES: Shape = Shape::List(&Shape::Text(Text::Named), MAX_RULES);
const VARIABLES: Shape = Shape::List(&Shape::Text(Text::VariablePattern), MAX_RULES);
const LIMIT: Shape = Shape::Integer(0, u64::MAX);
const DURATION: Shape = Shape::Text(Text::Duration);
const ROLES: Shape = Shape::List(&Shape::Text(Text::Role), MAX_GUARDS);
const PLAIN: Shape = Shape::Text(Text::Plain);

/// A policy, or an agent's configuration.
pub(in crate::document) static POLICY: Mapping = mapping(
    "a policy",
    "What an agent may do, as Vantio enforces it.",
    &[
        required("version", "The version of the language.", Shape::Version),
        key("name", "What the policy is called. Not part of what it means.", Shape::Text(Text::Name)),
        key(
            "mode",
            "What happens to a refusal: it is carried out (enforce), only recorded (monitor), or recorded so that rules can be suggested (learn).",
            Shape::Choice(&[Mode::Enforce.name(), Mode::Monitor.name(), Mode::Learn.name()]),
        ),
        key(
            "include",
            "Policies that this one narrows: `preset:NAME`, or a file relative to this one.",
            Shape::List(&Shape::Text(Text::Include), MAX_GUARDS),
        ),
        key("fs", FS.about, Shape::Mapping(&FS)),
        key("exec", EXEC.about, Shape::Mapping(&EXEC)),
        key("net", NET.about, Shape::Mapping(&NET)),
        key("domains", DOMAIN.about, Shape::Mapping(&DOMAIN)),
        key("env", ENV.about, Shape::Mapping(&ENV)),
        key("tools", TOOLS.about, Shape::Mapping(&TOOLS)),
        key("infer", INFER.about, Shape::Mapping(&INFER)),
        key("budgets", BUDGETS.about, Shape::Mapping(&BUDGETS)),
        key("limits", LIMITS.about, Shape::Mapping(&LIMITS)),
        key("taint", TAINT.about, Shape::Mapping(&TAINT)),
        key(
            "order",
            "What must have happened before something else may.",
            Shape::List(&Shape::Mapping(&ORDER), MAX_GUARDS),
        ),
        key(
            "thresholds",
            "How much of something may happen within a time.",
            Shape::List(&Shape::Mapping(&THRESHOLD), MAX_GUARDS),
        ),
        key("hold", "What waits for an approver.", Shape::List(&Shape::Mapping(&HOLD), MAX_GUARDS)),
        key(
            "kill_switch",
            "Whether everything is refused, and who may say so.",
            Shape::Either(&[Shape::Boolean, Shape::Mapping(&KILL_SWITCH)]),
        ),
        key(
            "require",
            "The least backend that may run this policy.",
            Shape::Choice(&[
                Backend::Audit.name(),
                Backend::Static.name(),
                Backend::Notify.name(),
                Backend::Kernel.name(),
            ]),
        ),
        key(
            "reversibility",
            "How far effects can be taken back, where the policy knows better.",
            Shape::Effects(REVERSIBILITY),
        ),
        key("phantom", PHANTOM.about, Shape::Mapping(&PHANTOM)),
        key("ledger", LEDGER.about, Shape::Mapping(&LEDGER)),
        key(
            "tests",
            "What the policy is expected to decide; `vantio policy test` checks it.",
            Shape::List(&Shape::Mapping(&TEST), MAX_RULES),
        ),
        key("llm", LLM.about, Shape::Mapping(&LLM)),
    ],
);

pub(in crate::document) static FS: Mapping = mapping(
    "`fs`",
    "Files. A deny beats every allow.",
    &[
        key("read", "Paths that may be read.", PATHS),
        key("write", "Paths that may be read and written.", PATHS),
        key(
            "deny",
            "Paths that may be neither; `${credentials}` stands for all that is known to hold credentials.",
            DENIED_PATHS,
        ),
    ],
);

pub(in crate::document) static EXEC: Mapping = mapping(
    "`exec`",
    "Programs, by path or by a bare name that `PATH` finds.",
    &[
        key("allow", "Programs that may be executed; starting includes reading.", PROGRAMS),
        key("deny", "Programs that may not.", PROGRAMS),
    ],
);

pub(in crate::document) static NET: Mapping = mapping(
    "`net`",
    "Names, addresses and sockets that may be connected to.",
    &[
        key("allow", "What may be reached; without a port: 80 and 443.", NETWORK),
        key("deny", "What may not; without a port: every port. A name covers its subdomains.", NETWORK),
    ],
);

pub(in crate::document) static DOMAIN: Mapping = mapping(
    "`domains`",
    "The short form of `net`: names and addresses only.",
    &[
        key("allow", "What may be reached; without a port: 80 and 443.", DOMAINS),
        key("deny", "What may not; without a port: every port. A name covers its subdomains.", DOMAINS),
    ],
);

pub(in crate::document) static ENV: Mapping = mapping(
    "`env`",
    "Variables of the environment. Those that look like credentials pass only where `allow` names them.",
    &[
        key("allow", "Names that pass although they look like credentials.", VARIABLES),
        key("deny", "Names that do not pass.", VARIABLES),
        key("set", "Variables with values of their own.", Shape::Variables),
    ],
);

pub(in crate::document) static TOOLS: Mapping = mapping(
    "`tools`",
    "Tools, by name; `*` stands for any characters.",
    &[key("allow", "Tools that may be called.", NAMES), key("deny", "Tools that may not.", NAMES)],
);

pub(in crate::document) static INFER: Mapping = mapping(
    "`infer`",
    "Models.",
    &[
        key("models", "Models that may be asked; `*` stands for any characters.", NAMES),
        key("max_tokens", "Tokens that one inference may ask for.", LIMIT),
    ],
);

pub(in crate::document) static BUDGETS: Mapping = mapping(
    "`budgets`",
    "Limits of a run. A limit may be reached and not passed; without one there is none.",
    &[
        key("tokens", "Tokens of models, in and out together.", LIMIT),
        key("calls", "Calls of tools and models.", LIMIT),
        key("inference_ms", "Milliseconds of inference.", LIMIT),
        key("file_bytes", "Bytes written to files.", LIMIT),
        key("network_bytes", "Bytes sent to and received from the network.", LIMIT),
        key("wall_ms", "Milliseconds from the run's start.", LIMIT),
        key("processes", "Processes and threads at one time.", LIMIT),
        key("cost_usd", "Cost in US dollars.", Shape::Cost),
    ],
);

pub(in crate::document) static TAINT: Mapping = mapping(
    "`taint`",
    "What labels a process, where no labelled process may reach, and what takes a label away.",
    &[
        key(
            "sources",
            "What gives a label. A bare name is a tool; without a label it is `untrusted`.",
            Shape::List(&Shape::Either(&[Shape::Text(Text::Named), Shape::Mapping(&SOURCE)]), MAX_GUARDS),
        ),
        key(
            "sinks",
            "What a process with the label may not reach. A bare name is a tool; without a label: no label may.",
            Shape::List(&Shape::Either(&[Shape::Text(Text::Named), Shape::Mapping(&SINK)]), MAX_GUARDS),
        ),
        key(
            "sanitizers",
            "What takes a label away. A bare name is a tool; without a label it is `untrusted`.",
            Shape::List(&Shape::Either(&[Shape::Text(Text::Named), Shape::Mapping(&SANITIZER)]), MAX_GUARDS),
        ),
    ],
);

pub(in crate::document) static SOURCE: Mapping = Mapping {
    name: "a source",
    about: "What gives a label.",
    keys: &[
        key("label", "The label; `untrusted` without it.", Shape::Text(Text::Label)),
        key("fs", "Paths whose reading gives it.", DENIED_PATHS),
        key("net", "What gives it by being connected to.", NETWORK),
        key("exec", "Programs whose start gives it.", PROGRAMS),
        key("tools", "Tools whose call gives it.", NAMES),
        key("infer", "Models whose answers give it.", NAMES),
        key("heap", "Types of the heap whose reading gives it.", NAMES),
    ],
    needs: Needs::Some(TAINTED),
};

pub(in crate::document) static SINK: Mapping = Mapping {
    name: "a sink",
    about: "What a label must not reach.",
    keys: &[
        key("label", "The label; every label without it.", Shape::Text(Text::Label)),
        key("fs", "Paths that it may not change.", DENIED_PATHS),
        key("net", "What it may not connect to or resolve.", NETWORK),
        key("exec", "Programs that it may not start.", PROGRAMS),
        key("tools", "Tools that it may not call.", NAMES),
        key("infer", "Models that it may not ask.", NAMES),
        key("heap", "Types of the heap that it may not write.", NAMES),
    ],
    needs: Needs::Some(TAINTED),
};

pub(in crate::document) static SANITIZER: Mapping = Mapping {
    name: "a sanitizer",
    about: "What takes a label away.",
    keys: &[
        key("label", "The label; `untrusted` without it.", Shape::Text(Text::Label)),
        key("exec", "Programs whose output is clean.", PROGRAMS),
        key("tools", "Tools whose output is clean.", NAMES),
    ],
    needs: Needs::Some(&["exec", "tools"]),
};

/// The keys of a source or sink that say what it is.
const TAINTED: &[&str] = &["fs", "net", "exec", "tools", "infer", "heap"];

const EFFECT: Key = required(
    "effect",
    "An effect, or several.",
    Shape::Either(&[Shape::Text(Text::Effect), Shape::List(&Shape::Text(Text::Effect), MAX_GUARDS)]),
);
const ACCESS: Key =
    key("access", "For `fs.open`: only for this access; for either without it.", Shape::Choice(ACCESSES));
const TARGET: Key = key(
    "target",
    "A pattern of the effect's kind, or several; every target without it. It reaches as far as a deny.",
    Shape::Either(&[Shape::Text(Text::Target), Shape::List(&Shape::Text(Text::Target), MAX_RULES)]),
);

/// The names of [`vantio_core::Access`].
pub(in crate::document) const ACCESSES: &[&str] = &["read", "write"];

pub(in crate::document) static SCOPE: Mapping =
    mapping("a scope", "Which intents are meant.", &[EFFECT, ACCESS, TARGET]);

pub(in crate::document) static EVENT: Mapping = mapping(
    "an event",
    "What must have happened.",
    &[
        EFFECT,
        ACCESS,
        TARGET,
        key("exit", "For `proc.exec`: the program must have ended with this status.", Shape::Integer(0, 255)),
    ],
);

pub(in crate::document) static ORDER: Mapping = mapping(
    "a rule of `order`",
    "`refuse` is refused unless `unless_after` happened since `since` last did.",
    &[
        required("refuse", "What is refused.", Shape::Mapping(&SCOPE)),
        required("unless_after", "What must have happened.", Shape::Mapping(&EVENT)),
        required("since", "After what it must have happened.", Shape::Mapping(&SCOPE)),
    ],
);

pub(in crate::document) static THRESHOLD: Mapping = Mapping {
    name: "a threshold",
    about: "At most so much within a time.",
    keys: &[
        EFFECT,
        ACCESS,
        TARGET,
        key("count", "So many intents.", LIMIT),
        key("bytes", "So many bytes overwritten or sent.", LIMIT),
        key("distinct", "So many different targets.", LIMIT),
        required("within", "The time.", DURATION),
        key(
            "then",
            "What happens to what passes it: it is refused (collapse) or waits for an approver (hold).",
            Shape::Choice(THENS),
        ),
    ],
    needs: Needs::One(&["count", "bytes", "distinct"]),
};

/// What happens beyond a threshold.
pub(in crate::document) const THENS: &[&str] = &["collapse", "hold"];

pub(in crate::document) static HOLD: Mapping = mapping(
    "a rule of `hold`",
    "What waits for an approver.",
    &[
        EFFECT,
        ACCESS,
        TARGET,
        key("approvers", "Roles that may approve; whoever started the run without it.", ROLES),
        key("timeout", "After this it is refused; five minutes without it.", DURATION),
    ],
);

pub(in crate::document) static KILL_SWITCH: Mapping = mapping(
    "`kill_switch`",
    "Whether everything is refused, and who may say so.",
    &[
        key("active", "Whether it is set.", Shape::Boolean),
        key("approvers", "Roles that may set and clear it.", ROLES),
        key("quorum", "How many of them it takes.", Shape::Integer(1, 64)),
        key("window", "Within how long; five minutes without it.", DURATION),
    ],
);

/// The names of [`vantio_core::Reversibility`].
pub(in crate::document) const REVERSIBILITY: &[&str] =
    &["none", "reversible", "compensatable", "irreversible", "unknown"];

pub(in crate::document) static PHANTOM: Mapping = mapping(
    "`phantom`",
    "The copy-on-write world that a run works in.",
    &[
        key(
            "commit",
            "When a run's changes reach the host: when a person commits them (review), when it ends (auto), or never.",
            Shape::Choice(&[CommitMode::Review.name(), CommitMode::Auto.name(), CommitMode::Never.name()]),
        ),
        key(
            "view",
            "Whether a run sees what the host changes in the workspace meanwhile (live), or a copy of it as it was at the start (snapshot).",
            Shape::Choice(&[Viewing::Live.name(), Viewing::Snapshot.name()]),
        ),
        key(
            "checkpoint",
            "When a run's changes are remembered without being asked for, to go back to.",
            Shape::Mapping(&CHECKPOINT),
        ),
        key(
            "speculate",
            "Whether a run that waits for an answer goes on meanwhile where nothing of it is seen outside (auto), or waits (off).",
            Shape::Choice(&[Speculation::Off.name(), Speculation::Auto.name()]),
        ),
    ],
);

pub(in crate::document) static CHECKPOINT: Mapping = mapping(
    "`phantom.checkpoint`",
    "When checkpoints of a run are taken.",
    &[
        key("exec", "Before each program that the agent itself starts.", Shape::Boolean),
        key("writes", "After so many changes.", Shape::Integer(1, WRITES_MAX)),
        key("approval", "When somebody approves of what is held, before it happens.", Shape::Boolean),
    ],
);

pub(in crate::document) const WRITES_MAX: u64 = 1_000_000_000;

pub(in crate::document) static LEDGER: Mapping = mapping(
    "`ledger`",
    "What is recorded of a run. Digests over what was asked and answered always are.",
    &[
        key(
            "details",
            "Whether the ledger keeps what was asked and answered (keep), or only its structure and digests (drop).",
            Shape::Choice(&[Details::Keep.name(), Details::Drop.name()]),
        ),
        key(
            "export",
            "What may leave the machine of it: its structure (shape), or all that is kept (full).",
            Shape::Choice(&[Export::Shape.name(), Export::Full.name()]),
        ),
    ],
);

pub(in crate::document) static TEST: Mapping = mapping(
    "a test",
    "An intent, and what is expected of it.",
    &[
        required("effect", "The effect.", Shape::Text(Text::Effect)),
        key("access", "For `fs.open`: what for; read without it.", Shape::Choice(ACCESSES)),
        required("target", "The target; it may begin with a variable.", PLAIN),
        required("expect", "The decision.", Shape::Choice(DECISIONS)),
    ],
);

/// The names of [`vantio_core::Decision`].
pub(in crate::document) const DECISIONS: &[&str] = &["Permit", "Collapse", "KillSwitch", "Hold"];

pub(in crate::document) static LLM: Mapping = mapping(
    "`llm`",
    "Where models are. The models named here may be asked.",
    &[
        required(
            "mode",
            "Models on this host (local), elsewhere (api), or both (hybrid).",
            Shape::Choice(LLM_MODES),
        ),
        key("local", LOCAL.about, Shape::Mapping(&LOCAL)),
        key("api", API.about, Shape::Mapping(&API)),
    ],
);

/// Where models are.
pub(in crate::document) const LLM_MODES: &[&str] = &["local", "api", "hybrid"];

pub(in crate::document) static LOCAL: Mapping = mapping(
    "`llm.local`",
    "Models on this host.",
    &[
        key("device_path", "The device that leads to them.", PLAIN),
        key("device", "Another name of `device_path`.", PLAIN),
        key("default_model", "The model that is asked when none is named.", Shape::Text(Text::Model)),
        key("timeout_ms", "Milliseconds that an answer may take.", LIMIT),
    ],
);

pub(in crate::document) static API: Mapping = mapping(
    "`llm.api`",
    "Models elsewhere.",
    &[
        key("provider", "Who offers them.", PLAIN),
        key("endpoint", "The address of the API.", PLAIN),
        key("model", "The model that is asked when none is named.", Shape::Text(Text::Model)),
        key("secret_name", "The name of the secret that opens the API; never the secret.", PLAIN),
    ],
);

/// A manifest.
pub(in crate::document) static MANIFEST: Mapping = mapping(
    "a manifest",
    "Names the policy of an agent.",
    &[required("authority", AUTHORITY.about, Shape::Mapping(&AUTHORITY))],
);

pub(in crate::document) static AUTHORITY: Mapping = mapping(
    "`authority`",
    "What governs the agent.",
    &[
        required("policy_path", "The policy, relative to the manifest.", PLAIN),
        key("audit_log_path", "Where the audit log is kept.", PLAIN),
        key("llm", LLM.about, Shape::Mapping(&LLM)),
    ],
);
