//! Finding the policies of a run and compiling them.

mod effective;
mod places;
mod read;

use std::{
    env,
    ffi::OsStr,
    os::unix::ffi::OsStrExt as _,
    path::{Path, PathBuf},
};

use vantio_policy::{
    Compiled, PRESETS,
    layers::{Layer, LayerKind, compile_whole},
    preset,
};

pub use effective::Effective;
pub use places::FILE_NAMES;
pub use read::{relative, shown_name};

use crate::{
    failure::Failure,
    present::shown,
    store::{LayerSource, PolicySource},
};
use places::Found;
use read::{Trust, load_trusted};

/// The policies of a run, compiled, and where they came from.
pub struct Policy {
    /// What they mean, from the highest to the lowest; at least one.
    pub layers: Vec<Layer>,
    /// Where each came from.
    pub sources: Vec<LayerSource>,
    /// What `${workspace}` stands for; canonical.
    pub workspace: PathBuf,
}

impl Policy {
    /// Where the highest came from that is not managed; else the lowest of those.
    pub fn base_source(&self) -> &PolicySource {
        let base = self.layers.iter().position(|layer| layer.kind != LayerKind::Managed);
        &self.sources[base.unwrap_or(self.sources.len() - 1)].source
    }
}

/// The policies that govern a run: the managed ones, the one that was asked for, that of the
/// nearest folder that has one, and the user's.
pub fn find(file: Option<&Path>, preset_name: Option<&str>) -> Result<Policy, Failure> {
    let mut found = Vec::new();
    if let Some(path) = places::managed()? {
        found.push((LayerKind::Managed, load_trusted(&path, Trust::Root)?));
    }
    if let Some(path) = places::further_managed() {
        found.push((LayerKind::Managed, load_trusted(&path, Trust::Variable)?));
    }
    find_below(found, file, preset_name, Further::Always)
}

/// The same within a run: the managed policies hold for the outer one, and so do those of the folder and the user, which
/// are looked for where none is named; what would lead out of the nested one is denied.
pub fn find_nested(file: Option<&Path>, preset_name: Option<&str>) -> Result<Policy, Failure> {
    let source = LayerSource::new(PolicySource::Preset("nested".to_owned()));
    let mut find = |text: &str, _: &str| Err(format!("`{text}` is not part of Vantio"));
    let own = compile_whole(NESTED.as_bytes(), "preset:nested", &mut find)?;
    let managed = vec![(LayerKind::Managed, (own, source))];
    let found = find_below(managed, file, preset_name, Further::Unasked)?;
    if found.layers.len() == 1 {
        return Err(places::none(&current_directory()?));
    }
    Ok(found)
}

/// When the policies of the folder and of the user are looked for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Further {
    Always,
    /// Where none was asked for.
    Unasked,
}

/// Those below the managed ones.
fn find_below(
    mut found: Vec<(LayerKind, (Compiled, LayerSource))>,
    file: Option<&Path>,
    preset_name: Option<&str>,
    further: Further,
) -> Result<Policy, Failure> {
    let directory = current_directory()?;
    let asked = match (file, preset_name) {
        (Some(file), _) => Some(load_trusted(file, Trust::Named)?),
        (None, Some(name)) => Some(preset_layer(name)?),
        (None, None) => None,
    };
    let has_asked = asked.is_some();
    found.extend(asked.map(|asked| (LayerKind::CommandLine, asked)));
    let looks_further = further == Further::Always || !has_asked;
    let project = if looks_further { places::project(&directory)? } else { None };
    let mut workspace = directory.clone();
    if let Some(Found { path, folder }) = project {
        // Nobody else's file has a say where the policy is named.
        let is_own = !has_asked || read::is_trusted(&path, Trust::Own);
        if is_own && !is_among(&path, &found) {
            found.push((LayerKind::Project, load_trusted(&path, Trust::Own)?));
        }
        if !has_asked {
            workspace = folder;
        }
    }
    let user = if looks_further { places::user()? } else { None };
    if let Some(path) = user.filter(|path| !is_among(path, &found)) {
        found.push((LayerKind::User, load_trusted(&path, Trust::Own)?));
    }
    if found.is_empty() {
        return Err(places::none(&directory));
    }
    let (layers, sources) = found
        .into_iter()
        .map(|(kind, (compiled, mut source))| {
            kind.name().clone_into(&mut source.kind);
            (Layer { kind, name: name(&source), compiled: compiled.into() }, source)
        })
        .unzip();
    Ok(Policy { layers, sources, workspace })
}

/// What no nested run may do whatever its policy says: look into, or change, the memory of processes that are not in it.
const NESTED: &str =
    r#"{"version": 1, "mode": "monitor", "fs": {"deny": ["/proc/*/mem", "/proc/*/task/*/mem"]}}"#;

/// Compiles the document at `path`, with what it includes.
pub fn load(path: &Path) -> Result<(Compiled, PolicySource), Failure> {
    let (compiled, source) = load_trusted(path, Trust::Named)?;
    Ok((compiled, source.source))
}

/// Compiles a policy that comes with Vantio.
pub fn load_preset(name: &str) -> Result<(Compiled, PolicySource), Failure> {
    let (compiled, source) = preset_layer(name)?;
    Ok((compiled, source.source))
}

fn preset_layer(name: &str) -> Result<(Compiled, LayerSource), Failure> {
    let document = preset(name).ok_or_else(|| {
        let known = PRESETS.join(", ");
        Failure::misuse("E_PRESET_UNKNOWN", format!("no preset is called `{}`", shown(name)))
            .help(format!("the presets are {known}"))
    })?;
    let mut find = |text: &str, _: &str| Err(format!("`{text}` is not part of Vantio"));
    let compiled = compile_whole(document.as_bytes(), &format!("preset:{name}"), &mut find)?;
    Ok((compiled, LayerSource::new(PolicySource::Preset(name.to_owned()))))
}

/// The policy that a run had from here, where every document of it is what it was.
pub fn read_again(source: &LayerSource) -> Option<Compiled> {
    let (compiled, found) = match &source.source {
        PolicySource::Preset(name) => preset_layer(name).ok()?,
        PolicySource::File { path, .. } => {
            let path = relative(Path::new(OsStr::from_bytes(path.as_bytes())));
            load_trusted(&path, Trust::Named).ok()?
        }
    };
    (found.source == source.source && found.includes == source.includes).then_some(compiled)
}

/// The folder the command was started in, canonical.
pub fn current_directory() -> Result<PathBuf, Failure> {
    env::current_dir().and_then(|path| path.canonicalize()).map_err(|cause| {
        Failure::new("E_DIRECTORY", "the current folder cannot be used")
            .because(cause)
            .help("change to a folder that exists")
    })
}

/// What messages call a layer's document.
fn name(source: &LayerSource) -> String {
    match &source.source {
        PolicySource::Preset(name) => format!("preset:{name}"),
        PolicySource::File { path, .. } => read::shown_name(path.as_bytes()),
    }
}

/// Whether one of the layers is this file.
fn is_among(path: &Path, found: &[(LayerKind, (Compiled, LayerSource))]) -> bool {
    let canonical = path.canonicalize().ok();
    let same = |source: &PolicySource| match (source, &canonical) {
        (PolicySource::File { path, .. }, Some(canonical)) => {
            path.as_bytes() == canonical.as_os_str().as_encoded_bytes()
        }
        _ => false,
    };
    found.iter().any(|(_, (_, source))| same(&source.source))
}
