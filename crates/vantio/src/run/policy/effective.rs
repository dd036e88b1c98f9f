//! The policies of a run as one, on this host.

use std::{
    env,
    ffi::{OsStr, OsString},
    os::unix::ffi::{OsStrExt as _, OsStringExt as _},
    path::Path,
};

use vantio_policy::{
    Bindings, EnvRules,
    layers::{LayersError, Merged, environment, merge},
};

use super::Policy;
use crate::{failure::Failure, run::host};

/// Several policies as one, and what their variables and names stand for.
pub struct Effective {
    /// The policies as one.
    pub merged: Merged,
    /// What this host gives them.
    pub bindings: Bindings,
    /// What the run gets of this process's environment.
    pub variables: Vec<(OsString, OsString)>,
    /// The variables of this process's environment that it does not get, by name.
    pub withheld: Vec<String>,
}

impl Effective {
    /// What `policy` means on this host.
    pub fn new(policy: &Policy, home: &Path) -> Result<Self, Failure> {
        let rules = environment(&policy.layers);
        let variables = variables(&rules);
        let withheld = withheld(&variables);
        let path = variables.iter().find(|(name, _)| name == "PATH").map(|(_, value)| value.as_os_str());
        let bindings = bindings(policy, home, path)?;
        let merged = merge(&policy.layers, &bindings)?;
        Ok(Self { merged, bindings, variables, withheld })
    }
}

/// This process's environment, but for what Vantio itself is told.
fn own_variables() -> impl Iterator<Item = (OsString, OsString)> {
    env::vars_os().filter(|(name, _)| !name.as_bytes().starts_with(b"VANTIO"))
}

/// What the rules pass on of this process's environment.
fn variables(rules: &EnvRules) -> Vec<(OsString, OsString)> {
    let own: Vec<_> = own_variables().collect();
    let pairs = own.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes()));
    let chosen = rules.select(pairs).into_iter();
    chosen.map(|(name, value)| (OsString::from_vec(name), OsString::from_vec(value))).collect()
}

/// The names of what is not among the `variables` that a run gets.
fn withheld(variables: &[(OsString, OsString)]) -> Vec<String> {
    let is_had = |name: &OsString| variables.iter().any(|(had, _)| had == name);
    let names = own_variables().map(|(name, _)| name).filter(|name| !is_had(name));
    let mut names: Vec<_> = names.map(|name| name.to_string_lossy().into_owned()).collect();
    names.sort_unstable();
    names
}

/// What this host gives the policies, together.
fn bindings(policy: &Policy, home: &Path, path: Option<&OsStr>) -> Result<Bindings, Failure> {
    let mut bindings = Bindings::default();
    for layer in &policy.layers {
        let own = host::bindings(&layer.compiled.program, &policy.workspace, home, path)?;
        let (mut aliases, mut programs) = (bindings.aliases, bindings.programs);
        aliases.extend(own.aliases);
        aliases.sort_unstable();
        aliases.dedup();
        programs.extend(own.programs);
        programs.sort_unstable();
        // A name that leads somewhere else now has been replaced meanwhile: the first stands.
        programs.dedup_by(|later, first| later.0 == first.0);
        bindings = Bindings { aliases, programs, ..own };
    }
    Ok(bindings)
}

impl From<LayersError> for Failure {
    fn from(error: LayersError) -> Self {
        Self::new(error.code(), error)
            .help("leave something out of the lower layers: `vantio policy show --effective` lists them")
    }
}
