//! The canonical bytes of guards.
//!
//! Numbers are big-endian; a text is its length in 32 bits and its bytes; a list its length in 32
//! bits and its elements, ascending, none twice. Effects are written by name, patterns by family and
//! canonical text.

use alloc::{collections::BTreeMap, string::String, vec::Vec};

use vantio_core::{Access, Effect, Labels, Reversibility};

use crate::{
    DecodeError,
    guard::{
        MAX_ENTRIES,
        model::{
            Backend, Event, Guards, HoldRule, KillSwitch, Labelled, Measure, OrderRule, Scope, Then,
            Threshold,
        },
        scope::family,
    },
    named::NamedPattern,
    names,
    net::NetPattern,
    path::{Kind, PathPattern},
    rule::{Family, Pattern},
};

/// Targets of one scope.
const MAX_TARGETS: usize = 10_000;
/// Bytes of a label or a role.
const MAX_NAME: usize = 256;

const ACCESSES: [Option<Access>; 3] = [None, Some(Access::Read), Some(Access::Write)];
const MEASURES: [Measure; 3] = [Measure::Count, Measure::Bytes, Measure::Distinct];
const THENS: [Then; 2] = [Then::Collapse, Then::Hold];
const REVERSIBILITIES: [Reversibility; 5] = [
    Reversibility::None,
    Reversibility::Reversible,
    Reversibility::Compensatable,
    Reversibility::Irreversible,
    Reversibility::Unknown,
];

impl Guards {
    /// Appends the canonical bytes.
    pub(crate) fn encode(&self, bytes: &mut Vec<u8>) {
        let mut writer = Writer(bytes);
        writer.list(&self.labels, |writer, label| writer.text(label));
        for list in [&self.sources, &self.sinks, &self.sanitizers] {
            writer.list(list, Writer::labelled);
        }
        writer.list(&self.order, |writer, rule| {
            writer.scope(&rule.refuse);
            writer.scope(&rule.unless_after.scope);
            writer.optional(rule.unless_after.exit);
            writer.scope(&rule.since);
        });
        writer.list(&self.thresholds, |writer, rule| {
            writer.scope(&rule.scope);
            writer.index(&MEASURES, &rule.measure);
            writer.number(rule.limit);
            writer.number(rule.within_ms);
            writer.index(&THENS, &rule.then);
        });
        writer.list(&self.hold, |writer, rule| {
            writer.scope(&rule.scope);
            writer.list(&rule.approvers, |writer, role| writer.text(role));
            writer.number(rule.timeout_ms);
        });
        writer.length(self.reversibility.len());
        for (effect, reversibility) in &self.reversibility {
            writer.text(effect.name());
            writer.index(&REVERSIBILITIES, reversibility);
        }
        writer.0.push(u8::from(self.kill_switch.is_active));
        writer.list(&self.kill_switch.approvers, |writer, role| writer.text(role));
        writer.number(self.kill_switch.quorum);
        writer.number(self.kill_switch.window_ms);
        writer.optional(self.require.map(|backend| backend as u8));
    }

    /// The guards that [`Guards::encode`] gave exactly these bytes for; anything else is an error.
    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader(bytes);
        let labels = reader.list(Labels::MAX, Reader::name)?;
        let count = labels.len();
        let guards = Self {
            labels,
            sources: reader.list(MAX_ENTRIES, |reader| reader.labelled(count, true))?,
            sinks: reader.list(MAX_ENTRIES, |reader| reader.labelled(count, false))?,
            sanitizers: reader.list(MAX_ENTRIES, |reader| reader.labelled(count, true))?,
            order: reader.list(MAX_ENTRIES, Reader::order)?,
            thresholds: reader.list(MAX_ENTRIES, Reader::threshold)?,
            hold: reader.list(MAX_ENTRIES, Reader::hold)?,
            reversibility: reader.reversibility()?,
            kill_switch: reader.kill_switch()?,
            require: match reader.optional()? {
                None => None,
                Some(index) => Some(*Backend::ALL.get(usize::from(index)).ok_or(INVALID)?),
            },
        };
        if reader.0.is_empty() { Ok(guards) } else { Err(DecodeError::Trailing) }
    }
}

const INVALID: DecodeError = DecodeError::Invalid("guard");

struct Writer<'b>(&'b mut Vec<u8>);

impl Writer<'_> {
    fn length(&mut self, length: usize) {
        self.0.extend_from_slice(&(length as u32).to_be_bytes());
    }

    fn number(&mut self, number: u64) {
        self.0.extend_from_slice(&number.to_be_bytes());
    }

    fn text(&mut self, text: &str) {
        self.length(text.len());
        self.0.extend_from_slice(text.as_bytes());
    }

    fn optional(&mut self, value: Option<u8>) {
        self.0.extend_from_slice(&[u8::from(value.is_some()), value.unwrap_or_default()]);
    }

    fn index<T: PartialEq>(&mut self, all: &[T], value: &T) {
        // INVARIANT: the tables have every value.
        let index = all.iter().position(|other| other == value).unwrap_or_default();
        self.0.push(index as u8);
    }

    fn list<T>(&mut self, list: &[T], mut write: impl FnMut(&mut Self, &T)) {
        self.length(list.len());
        for element in list {
            write(self, element);
        }
    }

    fn labelled(&mut self, entry: &Labelled) {
        self.optional(entry.label);
        self.scope(&entry.scope);
    }

    fn scope(&mut self, scope: &Scope) {
        self.list(&scope.effects, |writer, effect| writer.text(effect.name()));
        self.index(&ACCESSES, &scope.access);
        self.list(&scope.targets, |writer, pattern| {
            let family = match pattern {
                Pattern::Path(_) => 0,
                Pattern::Program(_) => 1,
                Pattern::Net(_) => 2,
                Pattern::Named(_) => 3,
            };
            writer.0.push(family);
            writer.text(&pattern.canonical());
        });
    }
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, length: usize) -> Result<&'a [u8], DecodeError> {
        let (taken, rest) = self.0.split_at_checked(length).ok_or(DecodeError::Truncated)?;
        self.0 = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        self.take(N)?.try_into().map_err(|_| DecodeError::Truncated)
    }

    fn byte(&mut self) -> Result<u8, DecodeError> {
        Ok(u8::from_be_bytes(self.array()?))
    }

    fn number(&mut self) -> Result<u64, DecodeError> {
        Ok(u64::from_be_bytes(self.array()?))
    }

    fn text(&mut self) -> Result<&'a str, DecodeError> {
        let length = u32::from_be_bytes(self.array()?);
        core::str::from_utf8(self.take(length as usize)?).map_err(|_| DecodeError::Invalid("text"))
    }

    /// A label or a role.
    fn name(&mut self) -> Result<String, DecodeError> {
        let text = self.text()?;
        let is_name = !text.is_empty()
            && text.len() <= MAX_NAME
            && text.trim() == text
            && !text.chars().any(char::is_control);
        if is_name { Ok(text.into()) } else { Err(DecodeError::Invalid("name")) }
    }

    fn flag(&mut self) -> Result<bool, DecodeError> {
        match self.byte()? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(INVALID),
        }
    }

    fn optional(&mut self) -> Result<Option<u8>, DecodeError> {
        match (self.flag()?, self.byte()?) {
            (true, value) => Ok(Some(value)),
            (false, 0) => Ok(None),
            (false, _) => Err(INVALID),
        }
    }

    fn one_of<T: Copy>(&mut self, all: &[T]) -> Result<T, DecodeError> {
        all.get(usize::from(self.byte()?)).copied().ok_or(INVALID)
    }

    /// A list of at most `limit` elements, ascending, none twice.
    fn list<T: PartialOrd>(
        &mut self,
        limit: usize,
        mut element: impl FnMut(&mut Self) -> Result<T, DecodeError>,
    ) -> Result<Vec<T>, DecodeError> {
        let length = u32::from_be_bytes(self.array()?) as usize;
        if length > limit {
            return Err(DecodeError::TooLarge);
        }
        let list = (0..length).map(|_| element(self)).collect::<Result<Vec<T>, _>>()?;
        if list.is_sorted_by(|left, right| left < right) {
            Ok(list)
        } else {
            Err(DecodeError::Invalid("order"))
        }
    }

    fn labelled(&mut self, labels: usize, is_required: bool) -> Result<Labelled, DecodeError> {
        let label = self.optional()?;
        let is_known = label.map_or(!is_required, |number| usize::from(number) < labels);
        let scope = self.scope()?;
        if is_known { Ok(Labelled { label, scope }) } else { Err(DecodeError::Invalid("label")) }
    }

    fn scope(&mut self) -> Result<Scope, DecodeError> {
        let effects = self.list(Effect::ALL.len(), Self::effect)?;
        let access = self.one_of(&ACCESSES)?;
        let targets = self.list(MAX_TARGETS, Self::pattern)?;
        let fits = |pattern: &Pattern| {
            effects.iter().all(|effect| {
                matches!(
                    (family(*effect), pattern),
                    (Some(Family::Path), Pattern::Path(_))
                        | (Some(Family::Program), Pattern::Path(_) | Pattern::Program(_))
                        | (Some(Family::Net), Pattern::Net(_))
                        | (Some(Family::Named), Pattern::Named(_))
                )
            })
        };
        if effects.is_empty() || !targets.iter().all(fits) {
            return Err(DecodeError::Invalid("scope"));
        }
        Ok(Scope { effects, access, targets })
    }

    fn effect(&mut self) -> Result<Effect, DecodeError> {
        Effect::from_name(self.text()?).ok_or(DecodeError::Invalid("effect"))
    }

    fn pattern(&mut self) -> Result<Pattern, DecodeError> {
        let invalid = DecodeError::Invalid("pattern");
        let (family, text) = (self.byte()?, self.text()?);
        let pattern = match family {
            0 => Pattern::Path(PathPattern::parse(text).map_err(|_| invalid)?),
            1 => match Pattern::parse_program(text).map_err(|_| invalid)? {
                program @ Pattern::Program(_) => program,
                _ => return Err(invalid),
            },
            2 => Pattern::Net(NetPattern::parse(text, Kind::Deny, names::lower_ascii).map_err(|_| invalid)?),
            3 => Pattern::Named(NamedPattern::parse(text).map_err(|_| invalid)?),
            _ => return Err(invalid),
        };
        if pattern.canonical() == text { Ok(pattern) } else { Err(invalid) }
    }

    fn order(&mut self) -> Result<OrderRule, DecodeError> {
        let refuse = self.scope()?;
        let unless_after = Event { scope: self.scope()?, exit: self.optional()? };
        if unless_after.exit.is_some() && unless_after.scope.effects != [Effect::ProcExec] {
            return Err(DecodeError::Invalid("order rule"));
        }
        Ok(OrderRule { refuse, unless_after, since: self.scope()? })
    }

    fn threshold(&mut self) -> Result<Threshold, DecodeError> {
        Ok(Threshold {
            scope: self.scope()?,
            measure: self.one_of(&MEASURES)?,
            limit: self.number()?,
            within_ms: self.number()?,
            then: self.one_of(&THENS)?,
        })
    }

    fn hold(&mut self) -> Result<HoldRule, DecodeError> {
        Ok(HoldRule {
            scope: self.scope()?,
            approvers: self.list(MAX_ENTRIES, Self::name)?,
            timeout_ms: self.number()?,
        })
    }

    fn reversibility(&mut self) -> Result<BTreeMap<Effect, Reversibility>, DecodeError> {
        let pair = |reader: &mut Self| Ok((reader.effect()?, reader.one_of(&REVERSIBILITIES)?));
        let pairs = self.list(Effect::ALL.len(), pair)?;
        if pairs.is_sorted_by(|left, right| left.0 < right.0) {
            Ok(pairs.into_iter().collect())
        } else {
            Err(DecodeError::Invalid("order"))
        }
    }

    fn kill_switch(&mut self) -> Result<KillSwitch, DecodeError> {
        Ok(KillSwitch {
            is_active: self.flag()?,
            approvers: self.list(MAX_ENTRIES, Self::name)?,
            quorum: self.number()?,
            window_ms: self.number()?,
        })
    }
}
