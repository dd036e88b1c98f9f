//! The canonical bytes of a program.
//!
//! `"VPOL"`, a version, then what the policy means, then how it was presented: its
//! name and the rules as written. The tries and their hashes are made again from
//! these. Numbers are big-endian; a text is its length in 32 bits and its bytes; a list its
//! length in 32 bits and its elements, ascending, none twice.

pub(crate) mod guards;

use alloc::{borrow::ToOwned, collections::BTreeMap, string::String, vec::Vec};

use crate::{
    Budgets, Checkpointing, CommitMode, Details, EnvRules, Export, Limits, Mode, PolicyProgram, Rule,
    Speculation, Viewing,
    env::{NamePattern, is_variable_name},
    names,
    program::Parts,
    rule::{LISTS, Rules, SECTIONS},
};

const MAGIC: &[u8; 4] = b"VPOL";
const VERSION: u16 = 3;
/// Larger programs are not decoded.
const MAX_BYTES: usize = 16 << 20;
/// Elements of one list.
pub(crate) const MAX_RULES: usize = 16_384;

/// Bytes are not a program.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// The bytes do not begin as a program does.
    #[error("not a compiled policy")]
    Magic,
    /// The version is not one that this build reads.
    #[error("a compiled policy of version {0} is not supported; this build reads version 3")]
    Version(u16),
    /// The bytes end too early.
    #[error("a compiled policy is cut off")]
    Truncated,
    /// Bytes are left over.
    #[error("a compiled policy has bytes after its end")]
    Trailing,
    /// More bytes or rules than any policy may have.
    #[error("a compiled policy is too large")]
    TooLarge,
    /// A field has a value that none may have.
    #[error("a compiled policy has an invalid {0}")]
    Invalid(&'static str),
}

/// Header and meaning.
pub(crate) fn encode_meaning(program: &PolicyProgram) -> Vec<u8> {
    let mut bytes = Vec::from(*MAGIC);
    bytes.extend_from_slice(&VERSION.to_be_bytes());
    bytes.push(program.parts.mode as u8);
    bytes.push(keeping(program));
    if has_more(program) {
        bytes.push(more(program));
    }
    if let Some(writes) = program.parts.checkpointing.writes {
        bytes.extend_from_slice(&writes.to_be_bytes());
    }
    for value in program.parts.budgets.values() {
        write_limit(value, &mut bytes);
    }
    for section in SECTIONS {
        let rules = program.rules(section);
        write_length(rules.len(), &mut bytes);
        for rule in rules {
            write_text(&rule.canonical(), &mut bytes);
        }
    }
    for list in [&program.parts.env.allow, &program.parts.env.deny] {
        write_length(list.len(), &mut bytes);
        for pattern in list {
            write_text(&pattern.text, &mut bytes);
        }
    }
    write_length(program.parts.env.set.len(), &mut bytes);
    for (name, value) in &program.parts.env.set {
        write_text(name, &mut bytes);
        write_text(value, &mut bytes);
    }
    write_limit(program.parts.max_tokens, &mut bytes);
    guards::encode(&program.parts.guards, &mut bytes);
    let limits = &program.parts.limits;
    if !limits.is_empty() {
        limits.values().into_iter().for_each(|value| write_limit(value, &mut bytes));
        bytes.push(u8::from(limits.best_effort));
    }
    bytes
}

pub(crate) fn encode(program: &PolicyProgram) -> Vec<u8> {
    let mut bytes = encode_meaning(program);
    bytes.push(u8::from(program.parts.name.is_some()));
    write_text(program.name().unwrap_or_default(), &mut bytes);
    for section in SECTIONS {
        for rule in program.rules(section) {
            let is_canonical = rule.text() == rule.canonical();
            write_text(if is_canonical { "" } else { rule.text() }, &mut bytes);
        }
    }
    bytes
}

/// When changes are committed, what a run sees, when checkpoints are taken, and what becomes of the record, in one byte: a
/// policy that says nothing about views, checkpoints or its record has the bytes, and so the hash, that it had before there was a word
/// for it.
fn keeping(program: &PolicyProgram) -> u8 {
    let Parts { commit_mode, viewing, details, export, checkpointing, limits, .. } = &program.parts;
    let commit_mode = if has_more(program) { MORE } else { *commit_mode as u8 };
    commit_mode
        | if *viewing == Viewing::Snapshot { FROZEN } else { 0 }
        | if *details == Details::Drop { DROP } else { 0 }
        | if *export == Export::Full { FULL } else { 0 }
        | if checkpointing.exec { BEFORE_EXEC } else { 0 }
        | if checkpointing.writes.is_some() { AFTER_WRITES } else { 0 }
        | if limits.is_empty() { 0 } else { LIMITED }
}

/// Whether the policy says what the byte of [`keeping`] has no room for.
fn has_more(program: &PolicyProgram) -> bool {
    program.parts.checkpointing.approval || program.parts.speculation == Speculation::Auto
}

/// When changes are committed, and what else is kept in the byte that follows.
fn more(program: &PolicyProgram) -> u8 {
    let Parts { commit_mode, checkpointing, speculation, .. } = &program.parts;
    *commit_mode as u8
        | if checkpointing.approval { AT_APPROVAL } else { 0 }
        | if *speculation == Speculation::Auto { SPECULATES } else { 0 }
}

/// In the place of a commit mode: a byte follows that has it, and more.
const MORE: u8 = 0x03;
const AT_APPROVAL: u8 = 0x04;
const SPECULATES: u8 = 0x08;
const FROZEN: u8 = 0x04;
/// Limits of resources follow at the end.
const LIMITED: u8 = 0x08;
const DROP: u8 = 0x10;
const FULL: u8 = 0x20;
const BEFORE_EXEC: u8 = 0x40;
const AFTER_WRITES: u8 = 0x80;

fn write_limit(limit: Option<u64>, bytes: &mut Vec<u8>) {
    bytes.push(u8::from(limit.is_some()));
    bytes.extend_from_slice(&limit.unwrap_or_default().to_be_bytes());
}

fn write_length(length: usize, bytes: &mut Vec<u8>) {
    bytes.extend_from_slice(&(length as u32).to_be_bytes());
}

fn write_text(text: &str, bytes: &mut Vec<u8>) {
    write_length(text.len(), bytes);
    bytes.extend_from_slice(text.as_bytes());
}

pub(crate) fn decode(bytes: &[u8]) -> Result<PolicyProgram, DecodeError> {
    if bytes.len() > MAX_BYTES {
        return Err(DecodeError::TooLarge);
    }
    let mut reader = Reader(bytes);
    if reader.take(MAGIC.len()).ok() != Some(MAGIC.as_slice()) {
        return Err(DecodeError::Magic);
    }
    let version = u16::from_be_bytes(reader.array()?);
    if version != VERSION {
        return Err(DecodeError::Version(version));
    }
    let mode = match reader.byte()? {
        0 => Mode::Enforce,
        1 => Mode::Monitor,
        2 => Mode::Learn,
        _ => return Err(DecodeError::Invalid("mode")),
    };
    let keeping = reader.byte()?;
    let details = if keeping & DROP == 0 { Details::Keep } else { Details::Drop };
    let export = if keeping & FULL == 0 { Export::Shape } else { Export::Full };
    let viewing = if keeping & FROZEN == 0 { Viewing::Live } else { Viewing::Snapshot };
    let mut committing = keeping & !(FROZEN | DROP | FULL | BEFORE_EXEC | AFTER_WRITES | LIMITED);
    let mut besides = 0;
    if committing == MORE {
        let byte = reader.byte()?;
        besides = byte & (AT_APPROVAL | SPECULATES);
        if besides == 0 {
            return Err(DecodeError::Invalid("commit mode"));
        }
        committing = byte & !besides;
    }
    let speculation = if besides & SPECULATES == 0 { Speculation::Off } else { Speculation::Auto };
    let commit_mode = match committing {
        0 => CommitMode::Review,
        1 => CommitMode::Auto,
        2 => CommitMode::Never,
        _ => return Err(DecodeError::Invalid("commit mode")),
    };
    let writes = if keeping & AFTER_WRITES == 0 { None } else { Some(u64::from_be_bytes(reader.array()?)) };
    if writes == Some(0) {
        return Err(DecodeError::Invalid("number of writes"));
    }
    let approval = besides & AT_APPROVAL != 0;
    let checkpointing = Checkpointing { exec: keeping & BEFORE_EXEC != 0, writes, approval };
    let budgets = decode_budgets(&mut reader)?;
    let mut lists: [Vec<&str>; LISTS] = [const { Vec::new() }; LISTS];
    for list in &mut lists {
        *list = reader.list(Reader::text)?;
    }
    let env = decode_env(&mut reader)?;
    let max_tokens = reader.limit("token limit")?;
    let guards = guards::decode(&mut reader)?;
    let limits = if keeping & LIMITED == 0 { Limits::default() } else { decode_limits(&mut reader)? };
    let has_name = reader.flag("name")?;
    let name = reader.text()?;
    if !has_name && !name.is_empty() {
        return Err(DecodeError::Invalid("name"));
    }
    let rules = decode_rules(&mut reader, &lists)?;
    if !reader.0.is_empty() {
        return Err(DecodeError::Trailing);
    }
    let name = has_name.then(|| String::from(name));
    Ok(PolicyProgram::new(Parts {
        name,
        mode,
        commit_mode,
        viewing,
        details,
        export,
        checkpointing,
        speculation,
        budgets,
        env,
        rules,
        max_tokens,
        guards,
        limits,
    }))
}

fn decode_budgets(reader: &mut Reader) -> Result<Budgets, DecodeError> {
    let mut values = [None; 8];
    for value in &mut values {
        *value = reader.limit("budget")?;
    }
    Ok(Budgets::from_values(values))
}

fn decode_limits(reader: &mut Reader) -> Result<Limits, DecodeError> {
    let mut values = [None; Limits::NAMES.len()];
    for value in &mut values {
        *value = reader.limit("limit")?;
        if *value == Some(0) {
            return Err(DecodeError::Invalid("limit"));
        }
    }
    let limits = Limits::from_values(values, reader.flag("best effort")?);
    if limits.is_empty() { Err(DecodeError::Invalid("limit")) } else { Ok(limits) }
}

fn decode_env(reader: &mut Reader) -> Result<EnvRules, DecodeError> {
    let pattern =
        |reader: &mut Reader| NamePattern::parse(reader.text()?).ok_or(DecodeError::Invalid("variable name"));
    let allow = ascending(reader.list(pattern)?)?;
    let deny = ascending(reader.list(pattern)?)?;
    let set = ascending(reader.list(|reader| Ok((reader.text()?, reader.text()?)))?)?;
    let mut variables = BTreeMap::new();
    for (name, value) in set {
        let is_new = variables.insert(String::from(name), String::from(value)).is_none();
        if !is_new || !is_variable_name(name) || value.contains('\0') {
            return Err(DecodeError::Invalid("variable"));
        }
    }
    Ok(EnvRules { allow, deny, set: variables })
}

/// The rules of the canonical texts in `lists`, with their texts as written.
fn decode_rules(reader: &mut Reader, lists: &[Vec<&str>; LISTS]) -> Result<Rules, DecodeError> {
    let mut rules: [Vec<Rule>; LISTS] = [const { Vec::new() }; LISTS];
    for ((section, texts), rules) in SECTIONS.into_iter().zip(lists).zip(&mut rules) {
        for canonical in texts {
            let invalid = DecodeError::Invalid("rule");
            let rule = Rule::parse(section, canonical, names::lower_ascii).map_err(|_| invalid)?;
            if rule.canonical() != *canonical {
                return Err(invalid);
            }
            let written = reader.text()?;
            let rule = if written.is_empty() {
                rule
            } else {
                let spelled = Rule::parse(section, written, names::lower_ascii).map_err(|_| invalid)?;
                if spelled.pattern != rule.pattern || written == *canonical {
                    return Err(invalid);
                }
                spelled
            };
            if rules.last().is_some_and(|last| last.pattern >= rule.pattern) {
                return Err(DecodeError::Invalid("order"));
            }
            rules.push(rule);
        }
    }
    Ok(Rules::new(rules))
}

fn ascending<T: Ord>(list: Vec<T>) -> Result<Vec<T>, DecodeError> {
    if list.is_sorted_by(|left, right| left < right) { Ok(list) } else { Err(DecodeError::Invalid("order")) }
}

/// Bytes that are still to be read.
pub(crate) struct Reader<'a>(pub(crate) &'a [u8]);

impl<'a> Reader<'a> {
    pub(crate) fn take(&mut self, length: usize) -> Result<&'a [u8], DecodeError> {
        let (taken, rest) = self.0.split_at_checked(length).ok_or(DecodeError::Truncated)?;
        self.0 = rest;
        Ok(taken)
    }

    pub(crate) fn array<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        self.take(N)?.try_into().map_err(|_| DecodeError::Truncated)
    }

    pub(crate) fn byte(&mut self) -> Result<u8, DecodeError> {
        Ok(u8::from_be_bytes(self.array()?))
    }

    pub(crate) fn flag(&mut self, field: &'static str) -> Result<bool, DecodeError> {
        match self.byte()? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(DecodeError::Invalid(field)),
        }
    }

    pub(crate) fn number(&mut self) -> Result<u64, DecodeError> {
        Ok(u64::from_be_bytes(self.array()?))
    }

    fn limit(&mut self, field: &'static str) -> Result<Option<u64>, DecodeError> {
        let (is_limited, limit) = (self.flag(field)?, self.number()?);
        if !is_limited && limit != 0 {
            return Err(DecodeError::Invalid(field));
        }
        Ok(is_limited.then_some(limit))
    }

    pub(crate) fn owned_text(&mut self) -> Result<String, DecodeError> {
        Ok(self.text()?.to_owned())
    }

    pub(crate) fn text(&mut self) -> Result<&'a str, DecodeError> {
        let length = u32::from_be_bytes(self.array()?);
        core::str::from_utf8(self.take(length as usize)?).map_err(|_| DecodeError::Invalid("text"))
    }

    pub(crate) fn list<T>(
        &mut self,
        element: impl Fn(&mut Self) -> Result<T, DecodeError>,
    ) -> Result<Vec<T>, DecodeError> {
        let length = u32::from_be_bytes(self.array()?) as usize;
        if length > MAX_RULES {
            return Err(DecodeError::TooLarge);
        }
        (0..length).map(|_| element(self)).collect()
    }
}
