//! What a verdict depends on besides the policy, the intent's target and the names of its address:
//! written down with the verdict, so that it can be decided again.

use vantio_core::{
    Context, Intent, Labels,
    json::{Key, MAX_INTEGER, Value},
};
use vantio_policy::{PolicyProgram, State, flow::Flow};

const MEMBER: &str = "moment";

/// What is written down, of which policies.
#[derive(Clone, Copy, Debug)]
pub struct Notes {
    /// Any of it.
    is_needed: bool,
    /// The time.
    time: bool,
    /// How much has happened before.
    past: bool,
}

/// What was known when an intent was decided.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Moment {
    /// What the intent's context was.
    pub context: Context,
    /// How often something had happened before that counts: [`State::changes`].
    pub changes: Option<u64>,
    /// Whether what other processes had open decided.
    pub is_about_flow: bool,
    /// Whether the kill switch was set, by whomever.
    pub is_killed: bool,
}

impl Notes {
    pub fn new(program: &PolicyProgram) -> Self {
        let (time, past) = (program.asks_the_time(), program.remembers());
        Self { is_needed: time || past || Flow::is_needed(program), time, past }
    }

    /// Of any policy.
    pub const fn with_all(self) -> Self {
        Self { is_needed: true, ..self }
    }

    /// The moment of an intent that is decided now.
    pub fn moment(self, state: &State, intent: &Intent<'_>) -> Moment {
        let elapsed_ms = if self.time { state.time_of(intent) } else { 0 };
        let context = Context { elapsed_ms, ..intent.context };
        let changes = self.past.then(|| state.changes());
        Moment { context, changes, is_about_flow: false, is_killed: state.is_killed() }
    }

    /// Adds a moment to what is answered, where the policy needs it.
    pub fn add(self, program: &PolicyProgram, response: Value, moment: impl FnOnce(Self) -> Moment) -> Value {
        match response {
            Value::Object(mut members) if self.is_needed => {
                let moment = moment(self).to_value(program);
                members.extend(moment.map(|moment| (Key(MEMBER.into()), moment)));
                Value::Object(members)
            }
            other => other,
        }
    }
}

impl Moment {
    fn to_value(self, program: &PolicyProgram) -> Option<Value> {
        let Context { labels, elapsed_ms, bytes } = self.context;
        let mut members = Vec::new();
        let mut number = |key, number| {
            if let Some(number) = number {
                members.push((key, integer(number)));
            }
        };
        number("bytes", (bytes > 0).then_some(bytes));
        number("changes", self.changes);
        number("elapsed_ms", (elapsed_ms > 0).then_some(elapsed_ms));
        if self.is_about_flow {
            members.push(("flow", true.into()));
        }
        if self.is_killed {
            members.push(("killed", true.into()));
        }
        if !labels.is_empty() {
            let name = |number: u8| match program.labels().get(usize::from(number)) {
                Some(name) => Value::from(name.as_str()),
                None => u32::from(number).into(),
            };
            members.push(("labels", Value::Array(labels.numbers().map(name).collect())));
        }
        (!members.is_empty()).then(|| Value::object(members))
    }

    /// The moment that is written down in a response; `None` for what is none of this policy.
    pub fn of(program: &PolicyProgram, response: &Value) -> Option<Self> {
        let mut moment = Self::default();
        let Value::Object(members) = response else { return Some(moment) };
        let Some(written) = members.get(&Key(MEMBER.into())) else { return Some(moment) };
        let Value::Object(members) = written else { return None };
        for (key, value) in members {
            let number = || match value {
                Value::Integer(number) => u64::try_from(*number).ok(),
                _ => None,
            };
            match key.0.as_str() {
                "bytes" => moment.context.bytes = number()?,
                "changes" => moment.changes = Some(number()?),
                "elapsed_ms" => moment.context.elapsed_ms = number()?,
                "flow" => moment.is_about_flow = *value == Value::Bool(true),
                "killed" => moment.is_killed = *value == Value::Bool(true),
                "labels" => moment.context.labels = labels(program, value)?,
                _ => return None,
            }
        }
        Some(moment)
    }
}

fn labels(program: &PolicyProgram, value: &Value) -> Option<Labels> {
    let Value::Array(names) = value else { return None };
    names.iter().try_fold(Labels::NONE, |labels, name| {
        let number = match name {
            Value::String(name) => program.label_number(name)?,
            Value::Integer(number) => u8::try_from(*number).ok().filter(|number| *number < 64)?,
            _ => return None,
        };
        Some(labels.union(Labels::single(number)))
    })
}

/// A number, as far as the ledger can have it.
pub fn integer(number: u64) -> Value {
    Value::Integer(number.min(MAX_INTEGER).cast_signed())
}
