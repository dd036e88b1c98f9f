//! `include`: a document and those that it includes, as one.
//!
//! Lists are joined. Of values the document's own win, then those of the document that is
//! included last.

use super::{LayersError, guards};
use crate::{
    Budgets, Compiled, Include, Limits, PolicyError, PolicyProgram, Rule,
    codec::MAX_RULES,
    compile,
    document::preset,
    guard::Guards,
    program::Parts,
    rule::{LISTS, Rules, SECTIONS},
};

/// A document that is included.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Included {
    /// The one name of it, however it is spelled where it is included.
    pub name: String,
    /// Its bytes.
    pub document: Vec<u8>,
}

/// Compiles a document with everything that it includes. `find` gives the document that a
/// text of `include` in the document of a name stands for, or why there is none; presets it
/// is not asked for.
///
/// # Errors
///
/// What is wrong with any of the documents, and includes that lead nowhere, in a circle, too
/// deep, or to too many documents.
pub fn compile_whole(
    source: &[u8],
    file_name: &str,
    find: &mut dyn FnMut(&str, &str) -> Result<Included, String>,
) -> Result<Compiled, PolicyError> {
    let mut reader = Reader { find, open: vec![file_name.to_owned()], read: 0 };
    reader.compile(source)
}

struct Reader<'f> {
    find: &'f mut dyn FnMut(&str, &str) -> Result<Included, String>,
    /// The documents on the way to this one.
    open: Vec<String>,
    /// How many were included.
    read: usize,
}

impl Reader<'_> {
    /// Compiles the innermost open document.
    fn compile(&mut self, source: &[u8]) -> Result<Compiled, PolicyError> {
        let name = self.open.last().cloned().unwrap_or_default();
        let own = compile(source, &name)?;
        let mut included = Vec::new();
        for include in &own.includes {
            let found = self.find(include, &name);
            let found = found.map_err(|(message, help)| include.wrong(source, &name, message, help))?;
            self.open.push(found.name);
            included.push(self.compile(&found.document)?);
            self.open.pop();
        }
        let Some(last) = own.includes.last() else { return Ok(own) };
        join(own.clone(), &included).map_err(|error| {
            last.wrong(source, &name, format!("with this, {}", error.of_includes()), "leave something out")
        })
    }

    fn find(&mut self, include: &Include, from: &str) -> Result<Included, (String, &'static str)> {
        let text = &include.text;
        if self.read >= MAX_INCLUDES {
            let message = format!("a policy includes more than {MAX_INCLUDES} documents");
            return Err((message, "join some of them"));
        }
        self.read += 1;
        let found = match text.strip_prefix("preset:") {
            Some(name) => preset(name)
                .map(|document| Included { name: text.clone(), document: document.into() })
                .ok_or_else(|| format!("no preset is called `{name}`")),
            None => (self.find)(text, from),
        };
        let found = found.map_err(|message| {
            (message, "name a file in the folder of this document or below, or by its whole path")
        })?;
        if self.open.contains(&found.name) {
            let circle = [self.open.as_slice(), std::slice::from_ref(&found.name)].concat().join("`, then `");
            return Err((format!("a policy includes itself: `{circle}`"), "remove one of the includes"));
        }
        if self.open.len() > MAX_DEPTH {
            let message = format!("policies include each other more than {MAX_DEPTH} deep");
            return Err((message, "include the document itself"));
        }
        Ok(found)
    }
}

/// One document of `own` and of those that it includes.
fn join(mut own: Compiled, included: &[Compiled]) -> Result<Compiled, LayersError> {
    let parts = own.program.parts.clone();
    // From the one that wins to the one that yields.
    let ranked: Vec<Compiled> = std::iter::once(own.clone()).chain(included.iter().rev().cloned()).collect();
    let first = |key: &str| ranked.iter().find(|document| document.present.has(key));
    let all_parts = || ranked.iter().map(|document| &document.program.parts);
    let mut lists: [Vec<Rule>; LISTS] = Default::default();
    for (section, list) in SECTIONS.into_iter().zip(&mut lists) {
        list.extend(ranked.iter().flat_map(|document| document.program.rules(section)).cloned());
        if list.len() > MAX_RULES {
            return Err(LayersError::TooMany { what: "rules in one list", limit: MAX_RULES });
        }
    }
    let mut env = parts.env;
    for other in included.iter().rev().map(|document| document.program.env()) {
        env.allow.extend_from_slice(&other.allow);
        env.deny.extend_from_slice(&other.deny);
        for (name, value) in &other.set {
            env.set.entry(name.clone()).or_insert_with(|| value.clone());
        }
    }
    for list in [&mut env.allow, &mut env.deny] {
        list.sort_unstable();
        list.dedup();
    }
    let mut budgets = [None; Budgets::NAMES.len()];
    for (index, budget) in budgets.iter_mut().enumerate() {
        *budget = all_parts().find_map(|parts| parts.budgets.values()[index]);
    }
    let mut limits = [None; Limits::NAMES.len()];
    for (index, limit) in limits.iter_mut().enumerate() {
        *limit = all_parts().find_map(|parts| parts.limits.values()[index]);
    }
    let limiting = all_parts().map(|parts| &parts.limits).find(|limits| !limits.is_empty());
    let best_effort = limiting.is_some_and(|limits| limits.best_effort);
    let program = PolicyProgram::new(Parts {
        name: all_parts().find_map(|parts| parts.name.clone()),
        mode: first("mode").map_or(parts.mode, |document| document.program.mode()),
        commit_mode: first("phantom.commit")
            .map_or(parts.commit_mode, |document| document.program.commit_mode()),
        viewing: first("phantom.view").map_or(parts.viewing, |document| document.program.viewing()),
        details: first("ledger.details").map_or(parts.details, |document| document.program.details()),
        export: first("ledger.export").map_or(parts.export, |document| document.program.export()),
        checkpointing: first("phantom.checkpoint")
            .map_or(parts.checkpointing, |document| document.program.checkpointing()),
        speculation: first("phantom.speculate")
            .map_or(parts.speculation, |document| document.program.speculation()),
        budgets: Budgets::from_values(budgets),
        env,
        rules: Rules::new(lists),
        max_tokens: all_parts().find_map(|parts| parts.max_tokens),
        guards: join_guards(&ranked)?,
        limits: Limits::from_values(limits, best_effort),
    });
    for document in &ranked {
        for (section, text, _) in document.source_map.iter() {
            if let Some(origin) = document.source_map.origin(section, text) {
                own.source_map.adopt(section, text, origin);
            }
        }
        own.present.join(&document.present);
    }
    own.llm = ranked.iter().find_map(|document| document.llm.clone());
    Ok(Compiled { program, includes: Vec::new(), ..own })
}

fn join_guards(ranked: &[Compiled]) -> Result<Guards, LayersError> {
    let guards: Vec<&Guards> = ranked.iter().map(|document| &document.program.parts.guards).collect();
    let mut joined = guards::join(&guards, |_| true)?;
    for own in &guards {
        for (effect, reversibility) in &own.reversibility {
            joined.reversibility.entry(*effect).or_insert(*reversibility);
        }
    }
    joined.require = guards.iter().find_map(|own| own.require);
    let switch = ranked.iter().find(|document| document.present.has("kill_switch"));
    joined.kill_switch =
        switch.map(|document| document.program.parts.guards.kill_switch.clone()).unwrap_or_default();
    Ok(joined)
}

/// Documents between the first and one that it includes, itself included.
const MAX_DEPTH: usize = 8;
/// Documents that one may include, those included by them counted.
const MAX_INCLUDES: usize = 64;
