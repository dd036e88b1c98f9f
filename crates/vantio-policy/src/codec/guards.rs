//! The canonical bytes of guards.

use alloc::{collections::BTreeMap, string::String, vec::Vec};

use vantio_core::{Access, Effect, Labels, Reversibility};

use super::{DecodeError, Reader, write_length, write_text};
use crate::{
    guard::{
        Backend, Guards, MAX_ENTRIES,
        model::{Event, HoldRule, KillSwitch, Labelled, Measure, OrderRule, Scope, Then, Threshold},
        scope,
    },
    named::NamedPattern,
    names,
    net::NetPattern,
    path::{Kind, PathPattern},
    rule::{Family, Pattern},
};

const INVALID: DecodeError = DecodeError::Invalid("guard");
const REVERSIBILITIES: [Reversibility; 5] = [
    Reversibility::None,
    Reversibility::Reversible,
    Reversibility::Compensatable,
    Reversibility::Irreversible,
    Reversibility::Unknown,
];

/// Appends the guards.
pub(crate) fn encode(guards: &Guards, bytes: &mut Vec<u8>) {
    texts(&guards.labels, bytes);
    for list in [&guards.sources, &guards.sinks, &guards.sanitizers] {
        write_length(list.len(), bytes);
        for entry in list {
            optional(entry.label, bytes);
            scope(&entry.scope, bytes);
        }
    }
    write_length(guards.order.len(), bytes);
    for rule in &guards.order {
        scope(&rule.refuse, bytes);
        scope(&rule.unless_after.scope, bytes);
        optional(rule.unless_after.exit, bytes);
        scope(&rule.since, bytes);
    }
    write_length(guards.thresholds.len(), bytes);
    for threshold in &guards.thresholds {
        scope(&threshold.scope, bytes);
        bytes.extend([threshold.measure as u8, threshold.then as u8]);
        bytes.extend(threshold.limit.to_be_bytes());
        bytes.extend(threshold.within_ms.to_be_bytes());
    }
    write_length(guards.hold.len(), bytes);
    for rule in &guards.hold {
        scope(&rule.scope, bytes);
        texts(&rule.approvers, bytes);
        bytes.extend(rule.timeout_ms.to_be_bytes());
    }
    write_length(guards.reversibility.len(), bytes);
    for (effect, reversibility) in &guards.reversibility {
        write_text(effect.name(), bytes);
        bytes.push(*reversibility as u8);
    }
    let switch = &guards.kill_switch;
    bytes.push(u8::from(switch.is_active));
    texts(&switch.approvers, bytes);
    bytes.extend(switch.quorum.to_be_bytes());
    bytes.extend(switch.window_ms.to_be_bytes());
    optional(guards.require.map(|backend| backend as u8), bytes);
}

fn texts(list: &[String], bytes: &mut Vec<u8>) {
    write_length(list.len(), bytes);
    for text in list {
        write_text(text, bytes);
    }
}

fn optional(value: Option<u8>, bytes: &mut Vec<u8>) {
    bytes.extend([u8::from(value.is_some()), value.unwrap_or_default()]);
}

fn scope(scope: &Scope, bytes: &mut Vec<u8>) {
    write_length(scope.effects.len(), bytes);
    for effect in &scope.effects {
        write_text(effect.name(), bytes);
    }
    optional(scope.access.map(|access| access as u8), bytes);
    write_length(scope.targets.len(), bytes);
    for target in &scope.targets {
        bytes.push(match target {
            Pattern::Path(_) => 0,
            Pattern::Program(_) => 1,
            Pattern::Net(_) => 2,
            Pattern::Named(_) => 3,
        });
        write_text(&target.canonical(), bytes);
    }
}

/// The guards at the beginning of what the reader has, if they are canonical.
pub(crate) fn decode(reader: &mut Reader<'_>) -> Result<Guards, DecodeError> {
    let start = reader.0;
    let labels = reader.list(Reader::owned_text)?;
    let label_count = labels.len();
    if label_count > Labels::MAX {
        return Err(INVALID);
    }
    let labelled = |reader: &mut Reader<'_>| {
        let entry = Labelled { label: read_optional(reader)?, scope: read_scope(reader)? };
        if entry.label.is_some_and(|label| usize::from(label) >= label_count) {
            return Err(INVALID);
        }
        Ok(entry)
    };
    let guards = Guards {
        labels,
        sources: reader.list(labelled)?,
        sinks: reader.list(labelled)?,
        sanitizers: reader.list(labelled)?,
        order: reader.list(read_order)?,
        thresholds: reader.list(read_threshold)?,
        hold: reader.list(read_hold)?,
        reversibility: reader.list(read_reversibility)?.into_iter().collect::<BTreeMap<_, _>>(),
        kill_switch: KillSwitch {
            is_active: reader.flag("guard")?,
            approvers: reader.list(Reader::owned_text)?,
            quorum: reader.number()?,
            window_ms: reader.number()?,
        },
        require: match read_optional(reader)? {
            None => None,
            Some(backend) => Some(*Backend::ALL.get(usize::from(backend)).ok_or(INVALID)?),
        },
    };
    let mut again = Vec::new();
    encode(&guards, &mut again);
    let is_same = start.len() - reader.0.len() == again.len() && start.starts_with(&again);
    if is_same && is_canonical(&guards) { Ok(guards) } else { Err(INVALID) }
}

fn is_canonical(guards: &Guards) -> bool {
    fn ascends<T: Ord>(list: &[T]) -> bool {
        list.is_sorted_by(|left, right| left < right)
    }
    fn is_short<T: Ord>(list: &[T]) -> bool {
        list.len() <= MAX_ENTRIES && ascends(list)
    }
    let is_scope = |scope: &Scope| {
        let suits = |effect: &Effect, pattern: &Pattern| match (scope::family(*effect), pattern.family()) {
            (Some(Family::Program), Family::Path) => true,
            (family, own) => family == Some(own),
        };
        !scope.effects.is_empty()
            && ascends(&scope.effects)
            && ascends(&scope.targets)
            && scope.effects.iter().all(|effect| scope.targets.iter().all(|pattern| suits(effect, pattern)))
    };
    let is_event = |event: &Event| {
        is_scope(&event.scope) && (event.exit.is_none() || event.scope.effects == [Effect::ProcExec])
    };
    let labelled = [&guards.sources, &guards.sinks, &guards.sanitizers];
    ascends(&guards.labels)
        && labelled.into_iter().all(|list| is_short(list) && list.iter().all(|entry| is_scope(&entry.scope)))
        && guards.sources.iter().chain(&guards.sanitizers).all(|entry| entry.label.is_some())
        && is_short(&guards.order)
        && guards
            .order
            .iter()
            .all(|rule| is_scope(&rule.refuse) && is_event(&rule.unless_after) && is_scope(&rule.since))
        && is_short(&guards.thresholds)
        && guards.thresholds.iter().all(|threshold| is_scope(&threshold.scope))
        && is_short(&guards.hold)
        && guards.hold.iter().all(|rule| is_scope(&rule.scope) && ascends(&rule.approvers))
        && ascends(&guards.kill_switch.approvers)
}

fn read_optional(reader: &mut Reader<'_>) -> Result<Option<u8>, DecodeError> {
    let (is_some, value) = (reader.flag("guard")?, reader.byte()?);
    Ok(is_some.then_some(value))
}

fn read_effect(reader: &mut Reader<'_>) -> Result<Effect, DecodeError> {
    Effect::from_name(reader.text()?).ok_or(INVALID)
}

fn read_scope(reader: &mut Reader<'_>) -> Result<Scope, DecodeError> {
    let effects = reader.list(read_effect)?;
    let access = match read_optional(reader)? {
        None => None,
        Some(0) => Some(Access::Read),
        Some(1) => Some(Access::Write),
        Some(_) => return Err(INVALID),
    };
    Ok(Scope { effects, access, targets: reader.list(read_target)? })
}

fn read_target(reader: &mut Reader<'_>) -> Result<Pattern, DecodeError> {
    let family = reader.byte()?;
    let text = reader.text()?;
    let pattern = match family {
        0 => PathPattern::parse(text).ok().map(Pattern::Path),
        1 => Pattern::parse_program(text).ok(),
        2 => NetPattern::parse(text, Kind::Deny, names::lower_ascii).ok().map(Pattern::Net),
        3 => NamedPattern::parse(text).ok().map(Pattern::Named),
        _ => None,
    };
    pattern.ok_or(INVALID)
}

fn read_order(reader: &mut Reader<'_>) -> Result<OrderRule, DecodeError> {
    let refuse = read_scope(reader)?;
    let unless_after = Event { scope: read_scope(reader)?, exit: read_optional(reader)? };
    Ok(OrderRule { refuse, unless_after, since: read_scope(reader)? })
}

fn read_threshold(reader: &mut Reader<'_>) -> Result<Threshold, DecodeError> {
    let scope = read_scope(reader)?;
    let measure = match reader.byte()? {
        0 => Measure::Count,
        1 => Measure::Bytes,
        2 => Measure::Distinct,
        _ => return Err(INVALID),
    };
    let then = match reader.byte()? {
        0 => Then::Collapse,
        1 => Then::Hold,
        _ => return Err(INVALID),
    };
    Ok(Threshold { scope, measure, limit: reader.number()?, within_ms: reader.number()?, then })
}

fn read_hold(reader: &mut Reader<'_>) -> Result<HoldRule, DecodeError> {
    let scope = read_scope(reader)?;
    Ok(HoldRule { scope, approvers: reader.list(Reader::owned_text)?, timeout_ms: reader.number()? })
}

fn read_reversibility(reader: &mut Reader<'_>) -> Result<(Effect, Reversibility), DecodeError> {
    let effect = read_effect(reader)?;
    let reversibility = REVERSIBILITIES.get(usize::from(reader.byte()?)).ok_or(INVALID)?;
    Ok((effect, *reversibility))
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use super::*;

    fn guards() -> Guards {
        let path = |text: &str| Pattern::Path(PathPattern::parse(text).unwrap());
        let host =
            |text: &str| Pattern::Net(NetPattern::parse(text, Kind::Deny, names::lower_ascii).unwrap());
        let scope = |effects: &[Effect], targets: Vec<Pattern>| Scope {
            effects: effects.to_vec(),
            access: effects.contains(&Effect::FsOpen).then_some(Access::Write),
            targets,
        };
        let program = scope(&[Effect::ProcExec], vec![Pattern::parse_program("git").unwrap()]);
        let tool = scope(&[Effect::ToolCall], vec![Pattern::Named(NamedPattern::parse("a*").unwrap())]);
        let opens = scope(&[Effect::FsOpen], vec![path("/a"), path("~/x/*")]);
        Guards {
            labels: vec!["secret".into(), "untrusted".into()],
            sources: vec![Labelled { label: Some(1), scope: tool }],
            sinks: vec![Labelled { label: None, scope: scope(&[Effect::NetConnect], vec![host("*.b.com")]) }],
            sanitizers: vec![Labelled { label: Some(0), scope: program.clone() }],
            order: vec![OrderRule {
                refuse: scope(&[Effect::NetConnect, Effect::NetDns], vec![]),
                unless_after: Event { scope: program, exit: Some(0) },
                since: opens.clone(),
            }],
            thresholds: vec![Threshold {
                scope: opens.clone(),
                measure: Measure::Distinct,
                limit: 7,
                within_ms: 10_000,
                then: Then::Hold,
            }],
            hold: vec![HoldRule { scope: opens, approvers: vec!["ciso".into()], timeout_ms: 5 }],
            reversibility: BTreeMap::from([(Effect::NetConnect, Reversibility::Reversible)]),
            kill_switch: KillSwitch { is_active: true, approvers: vec!["a".into()], quorum: 2, window_ms: 9 },
            require: Some(Backend::Notify),
        }
    }

    #[test]
    fn guards_survive_their_bytes() {
        for guards in [Guards::default(), guards()] {
            let mut bytes = Vec::new();
            encode(&guards, &mut bytes);
            let mut reader = Reader(&bytes);
            assert_eq!(decode(&mut reader), Ok(guards));
            assert!(reader.0.is_empty());
        }
    }

    #[test]
    fn other_bytes_are_other_guards_or_none() {
        let mut bytes = Vec::new();
        encode(&guards(), &mut bytes);
        for bit in 0..bytes.len() * 8 {
            let mut changed = bytes.clone();
            changed[bit / 8] ^= 1 << (bit % 8);
            assert_ne!(decode(&mut Reader(&changed)), Ok(guards()), "{bit}");
        }
        for length in 0..bytes.len() {
            assert!(decode(&mut Reader(&bytes[..length])).is_err(), "{length}");
        }
    }
}
