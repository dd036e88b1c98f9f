//! What is asked, and what is answered.

use vantio_core::{
    Access, Effect, Hash, Intent, Section, Target,
    json::{Key, Value},
};
use vantio_policy::{ApprovalError, ApprovedPattern, Bindings, Held, explain::to_a_labels};

use super::Reach;
use crate::{
    account,
    oracle::{Restated, integer},
    present::{shown, span},
};

/// What is asked, once for all that are alike: the same rule, effect and target, with the same names of its address.
#[derive(Clone, Debug)]
pub struct Asked {
    /// The effect that is held.
    pub effect: Effect,
    /// Its target and what that becomes, as the ledger has it.
    pub request: Value,
    /// The names that gave its address.
    pub names: Vec<String>,
    /// What names the intent: [`intent_hash`].
    pub intent: Hash,
    /// The list that holds it.
    pub section: Section,
    /// The rule of that list.
    pub rule: String,
    /// Who may approve; empty for whoever started the run.
    pub approvers: Vec<String>,
    /// How long it waits, in milliseconds.
    pub timeout_ms: u64,
    /// Bytes that would be overwritten, by the one that asked first.
    pub bytes: u64,
}

impl Asked {
    /// What tells it from others.
    pub fn key(&self) -> Hash {
        key(self.intent, self.section, &self.rule)
    }

    /// What is asked, for people.
    pub fn in_words(&self) -> String {
        let target = account::asked(&self.request);
        in_words(self.effect.name(), self.request.text("access"), &target, &self.names, self.bytes)
    }

    /// What an intent of it is opened for; writing, where that is not said.
    pub fn access(&self) -> Access {
        access(&self.request)
    }

    /// Whether it comes without a call that could wait, or goes on after one.
    pub fn is_of_datagrams(&self) -> bool {
        match Restated::of(&self.request) {
            Some(Restated::Endpoint(endpoint)) => endpoint.transport == vantio_core::Transport::Udp,
            Some(Restated::Name(_)) => true,
            _ => false,
        }
    }

    /// Whether a pattern covers it.
    pub fn is_covered_by(&self, pattern: &ApprovedPattern) -> bool {
        Restated::of(&self.request).is_some_and(|restated| {
            let intent = Intent::new(self.effect, restated.target());
            pattern.covers(&intent, self.names.iter().map(String::as_str))
        })
    }
}

/// What names an intent, and changes with anything that a person sees of it: the effect, the target, what that
/// becomes, and the names that gave its address.
pub fn intent_hash(effect: Effect, request: &Value, names: &[String]) -> Hash {
    let mut names = names.to_vec();
    names.sort_unstable();
    let names = names.into_iter().map(Value::from).collect();
    let intent = Value::object([
        ("effect", Value::from(effect.name())),
        ("names", Value::Array(names)),
        ("target", request.clone()),
    ]);
    Hash::of(intent.to_canonical().as_bytes())
}

/// What is asked, in a few words: the effect with its access, the target, the names of that, and how much would be overwritten.
pub fn in_words(effect: &str, access: Option<&str>, target: &str, names: &[String], bytes: u64) -> String {
    let access = access.filter(|_| effect == Effect::FsOpen.name());
    let access = access.map_or_else(String::new, |access| format!(" ({})", shown(access)));
    let names = if names.is_empty() { String::new() } else { format!(" ({})", shown(&names.join(", "))) };
    let bytes = if bytes > 0 { format!(", over {bytes} bytes") } else { String::new() };
    format!("{}{access} {target}{names}{bytes}", shown(effect))
}

/// The commands that answer a question.
pub fn how_to_answer(id: &str, approvers: &[String]) -> String {
    let who = approvers.first().map_or_else(String::new, |who| format!(" --as {}", shown(who)));
    format!("vantio approve {id}{who}    or: vantio deny {id}")
}

/// What tells one question from another, within a run.
pub fn key(intent: Hash, section: Section, rule: &str) -> Hash {
    Hash::of_parts(&[&intent.0, section.name().as_bytes(), b"\0", rule.as_bytes()])
}

/// What was said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Said {
    Approve,
    Deny,
    /// Nobody said anything within this many milliseconds.
    Nothing(u64),
    /// Nobody was asked, for too many wait already.
    TooMany,
}

/// An answer, or that there was none.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The question.
    pub question: String,
    pub said: Said,
    pub reach: Reach,
    pub section: Section,
    pub rule: String,
    /// The intent that was asked about.
    pub intent: Hash,
    pub effect: Effect,
    pub access: Access,
    /// Who somebody said to be. Nobody has checked it.
    pub who: Option<String>,
    /// The user that answered, as the kernel knows it.
    pub uid: Option<u32>,
    pub reason: Option<String>,
    /// How many waited for it.
    pub waiting: u64,
    pub(super) pattern: Option<ApprovedPattern>,
}

impl Answer {
    /// An answer to a question by nobody yet.
    pub fn new(question: &str, asked: &Asked, said: Said) -> Self {
        Self {
            question: question.to_owned(),
            said,
            reach: Reach::Once,
            section: asked.section,
            rule: asked.rule.clone(),
            intent: asked.intent,
            effect: asked.effect,
            access: asked.access(),
            who: None,
            uid: None,
            reason: None,
            waiting: 0,
            pattern: None,
        }
    }

    /// The answer with the reach that it is to have.
    pub fn reaching(self, reach: Reach, bindings: &Bindings) -> Result<Self, ApprovalError> {
        let pattern = match &reach {
            Reach::Pattern(text) => {
                Some(ApprovedPattern::parse(text, self.effect, self.access, bindings, to_a_labels)?)
            }
            Reach::Once | Reach::Session => None,
        };
        let reach = pattern.as_ref().map_or(reach, |pattern| Reach::Pattern(pattern.text().to_owned()));
        Ok(Self { reach, pattern, ..self })
    }

    /// What an entry of the ledger may not be asked about: an intent of which too many wait.
    pub fn too_many(held: &Held<'_>, intent: &Intent<'_>) -> Self {
        Self {
            question: TOO_MANY.to_owned(),
            said: Said::TooMany,
            reach: Reach::Once,
            section: held.section,
            rule: held.rule.to_owned(),
            intent: Hash::ZERO,
            effect: intent.effect,
            access: Access::Write,
            who: None,
            uid: None,
            reason: None,
            waiting: 0,
            pattern: None,
        }
    }

    /// A denial of the same, once.
    pub fn denied(self) -> Self {
        Self { said: Said::Deny, reach: Reach::Once, pattern: None, ..self }
    }

    pub const fn approves(&self) -> bool {
        matches!(self.said, Said::Approve)
    }

    /// Whether the intent with this hash was asked about and not approved.
    pub fn denies(&self, intent: Hash) -> bool {
        !self.approves() && self.intent == intent
    }

    /// Whether it is about this rule and this intent.
    pub fn settles(&self, held: &Held<'_>, intent: &Intent<'_>, hash: Hash, names: &[String]) -> bool {
        self.section == held.section
            && self.rule == held.rule
            && match &self.pattern {
                Some(pattern) => pattern.covers(intent, names.iter().map(String::as_str)),
                None => self.intent == hash,
            }
    }

    /// Whether it is about all that a question is about.
    pub fn settles_all_of(&self, asked: &Asked) -> bool {
        self.section == asked.section
            && self.rule == asked.rule
            && match &self.pattern {
                Some(pattern) => asked.is_covered_by(pattern),
                None => self.intent == asked.intent,
            }
    }

    /// What happened, for a reason.
    pub fn in_words(&self) -> String {
        let by = || match (&self.who, self.uid) {
            (Some(who), _) => format!(" by {who}"),
            (None, Some(uid)) => format!(" by user {uid}"),
            (None, None) => String::new(),
        };
        let because = self.reason.as_ref().map(|reason| format!(": {reason}")).unwrap_or_default();
        match self.said {
            Said::Approve => format!("approved{}{because}", by()),
            Said::Deny => format!("denied{}{because}", by()),
            Said::Nothing(ms) => format!("nobody answered within {}", span(ms)),
            Said::TooMany => "too many calls wait for an answer already".to_owned(),
        }
    }

    /// As the ledger has it.
    pub fn to_value(&self) -> Value {
        let (answer, timeout) = match self.said {
            Said::Approve => ("approve", None),
            Said::Deny | Said::TooMany => ("deny", None),
            Said::Nothing(ms) => ("timeout", Some(ms)),
        };
        let (reach, pattern) = match &self.reach {
            Reach::Once => ("once", None),
            Reach::Session => ("session", None),
            Reach::Pattern(text) => ("pattern", Some(text)),
        };
        let mut members = vec![
            ("access", Value::from(access_name(self.access))),
            ("answer", answer.into()),
            ("effect", self.effect.name().into()),
            ("intent_hash", self.intent.to_string().into()),
            ("question", self.question.as_str().into()),
            ("reach", reach.into()),
            ("rule", self.rule.as_str().into()),
            ("section", self.section.name().into()),
            ("waiting", integer(self.waiting)),
        ];
        members.extend(pattern.map(|text| ("pattern", text.as_str().into())));
        members.extend(timeout.map(|ms| ("timeout_ms", integer(ms))));
        members.extend(self.who.as_ref().map(|who| ("as", who.as_str().into())));
        members.extend(self.uid.map(|uid| ("uid", uid.into())));
        members.extend(self.reason.as_ref().map(|reason| ("why", reason.as_str().into())));
        Value::object(members)
    }

    /// An answer that was written down; `None` for what is none.
    pub fn of(value: &Value, bindings: &Bindings) -> Option<Self> {
        let text = |key| value.text(key).map(str::to_owned);
        let said = match value.text("answer")? {
            "approve" => Said::Approve,
            "deny" => Said::Deny,
            "timeout" => Said::Nothing(value.count("timeout_ms")?),
            _ => return None,
        };
        let reach = match value.text("reach")? {
            "once" => Reach::Once,
            "session" => Reach::Session,
            "pattern" => Reach::Pattern(text("pattern")?),
            _ => return None,
        };
        let section = value.text("section")?;
        let answer = Self {
            question: text("question")?,
            said,
            reach: Reach::Once,
            section: Section::ALL.into_iter().find(|known| known.name() == section)?,
            rule: text("rule")?,
            intent: value.text("intent_hash")?.parse().ok()?,
            effect: Effect::from_name(value.text("effect")?)?,
            access: if value.text("access")? == access_name(Access::Read) {
                Access::Read
            } else {
                Access::Write
            },
            who: text("as"),
            uid: value.count("uid").and_then(|uid| u32::try_from(uid).ok()),
            reason: text("why"),
            waiting: value.count("waiting").unwrap_or(0),
            pattern: None,
        };
        answer.reaching(reach, bindings).ok()
    }
}

fn access(request: &Value) -> Access {
    match Restated::of(request).as_ref().map(Restated::target) {
        Some(Target::Path { access, .. }) => access,
        _ => Access::Write,
    }
}

const fn access_name(access: Access) -> &'static str {
    match access {
        Access::Read => "read",
        Access::Write => "write",
    }
}

/// The members of a response that name the answers that it rests on.
const MEMBER: &str = "answers";
/// What stands there for a question that nobody was asked.
const TOO_MANY: &str = "too many";

/// A response with the answers that it rests on.
pub fn with_answers(response: Value, answers: &[std::sync::Arc<Answer>]) -> Value {
    match response {
        Value::Object(mut members) if !answers.is_empty() => {
            let ids = answers.iter().map(|answer| answer.question.as_str().into()).collect();
            members.insert(Key(MEMBER.into()), Value::Array(ids));
            Value::Object(members)
        }
        other => other,
    }
}

/// The answers that a response rests on; `None` where they are not written as they are.
pub fn answers_of(response: &Value) -> Option<Vec<&str>> {
    match response.member(MEMBER) {
        None => Some(Vec::new()),
        Some(Value::Array(ids)) => ids.iter().map(Value::as_text).collect(),
        Some(_) => None,
    }
}

/// Whether an answer's name says that nobody was asked.
pub fn is_too_many(name: &str) -> bool {
    name == TOO_MANY
}
