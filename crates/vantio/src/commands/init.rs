//! `vantio init`

use std::path::Path;

use vantio_policy::{compile, preset};

use crate::{
    arguments::{Init, Preset},
    failure::Failure,
    output,
    present::{self, note, shown_path},
    run::policy::{FILE_NAMES, current_directory},
};

/// Writes a policy for the current folder.
pub fn init(arguments: &Init, json: bool) -> Result<u8, Failure> {
    let directory = current_directory()?;
    let [path, others @ ..] = FILE_NAMES.map(|name| directory.join(name));
    let exists = |path: &Path| {
        let message = format!("`{}` exists", shown_path(path));
        Failure::misuse("E_POLICY_EXISTS", message)
    };
    if let Some(other) = others.iter().find(|path| path.symlink_metadata().is_ok()) {
        return Err(
            exists(other).help("edit it, or move it away first to start again: a folder has one policy")
        );
    }
    output::must_lead_somewhere(&path)?;
    if path.exists() && !arguments.force {
        return Err(exists(&path).help("edit it, or start again with `vantio init --force`"));
    }
    let document = document(&directory, arguments.preset);
    let compiled = compile(document.as_bytes(), FILE_NAMES[0])?;
    output::document(&path, &document, arguments.force)?;
    if json {
        let hash = compiled.program.hash().to_string();
        present::print_json(serde_json::json!({ "file": shown_path(&path), "policy_hash": hash }))?;
    } else {
        note(format!(
            "wrote {}\nnext: read it, then run an agent under it: vantio run -- CMD\n",
            shown_path(&path)
        ));
    }
    Ok(0)
}

/// The preset's document under this folder's name, with what people add first as comments.
fn document(directory: &Path, preset_choice: Preset) -> String {
    let name =
        directory.file_name().map_or_else(|| "agent".into(), |name| name.to_string_lossy().into_owned());
    // A name with control characters would be refused.
    let name = Some(name).filter(|name| !name.contains(char::is_control));
    let name = name.map_or_else(String::new, |name| format!("name: {}\n", serde_json::Value::from(name)));
    let preset = preset(preset_name(preset_choice)).unwrap_or_default();
    let body = preset.lines().skip_while(|line| line.starts_with('#'));
    let lines = body.map(|line| match line {
        // JSON's quotes are YAML's.
        _ if line.starts_with("mode:") => format!("{LEARNING}{line}\n"),
        _ if line.starts_with("name:") && preset_choice == Preset::Learn => name.clone(),
        _ if line.starts_with("name:") => format!("{name}{MODE}"),
        "  allow: []" => format!("{NETWORK}{}\n  allow: []\n", registries(directory)),
        "exec:" => format!("exec:\n{EXECUTION}"),
        "phantom:" => format!("{ENVIRONMENT}phantom:\n"),
        _ => format!("{line}\n"),
    });
    let unmatched = match preset_choice {
        Preset::Learn => "what no rule permits\n# is recorded where it can be taken back, and else refused",
        _ => "what no rule permits is refused",
    };
    let header = HEADER.replace("@PRESET@", preset_name(preset_choice)).replace("@UNMATCHED@", unmatched);
    header + &lines.collect::<String>()
}

const fn preset_name(preset: Preset) -> &'static str {
    match preset {
        Preset::ReadOnly => "read-only",
        Preset::Workspace => "workspace",
        Preset::Open => "open",
        Preset::Learn => "learn",
    }
}

/// Hosts that the folder's manifests speak of, ready to be enabled.
fn registries(directory: &Path) -> &'static str {
    let found = REGISTRIES.iter().find(|(manifest, _)| directory.join(manifest).exists());
    found.map_or("registry.example.com", |(_, names)| names)
}

const REGISTRIES: &[(&str, &str)] = &[
    ("Cargo.toml", "index.crates.io, static.crates.io"),
    ("package.json", "registry.npmjs.org"),
    ("pyproject.toml", "pypi.org, files.pythonhosted.org"),
    ("requirements.txt", "pypi.org, files.pythonhosted.org"),
    ("go.mod", "proxy.golang.org, sum.golang.org"),
];

const HEADER: &str = "\
# What an agent may do here. A deny beats an allow; @UNMATCHED@.
# `vantio policy check vantio.yaml` finds mistakes; after a run, `vantio why last`
# says what was refused and which line would permit it.
#
# Paths: ${workspace} is this folder, ${tmp} the run's /tmp, ~/ the home, ** any depth.
# It began as a copy of preset:@PRESET@.
";

const MODE: &str = "\
# enforce: refuse. monitor: permit, and record what would have been refused.
mode: enforce
";

const LEARNING: &str = "\
# learn: permit what can be taken back and no rule speaks of, and record it. After a run,
# `vantio policy suggest last` writes the policy that would have permitted just that.
# Learning opens no network: name your model's host under `net.allow` below, and run
# without --preset.
";

// No line break first: it would take the indent away.
const EXECUTION: &str = "  # Starting includes reading.\n";

const NETWORK: &str =
    "  # A name is its ports 80 and 443; *.example.com its subdomains; 127.0.0.1:8080 a port
  # of this machine. An agent needs its model's host. For example:
  #   allow: [api.anthropic.com, api.openai.com]
  # and what it installs from: ";

const ENVIRONMENT: &str = "\
# Variables that look like credentials do not pass, unless they are allowed by name.
# env:
#   allow: [ANTHROPIC_API_KEY]

# review: changes wait for `vantio commit`. auto: committed at the end. never: none.
";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_compiles_in_a_folder_of_any_name() {
        for preset in [Preset::ReadOnly, Preset::Workspace, Preset::Open, Preset::Learn] {
            for name in ["/srv/web", "/a\"b\\c", "/# x: y", "/a\nb", "/\u{1b}[1m", "/a\u{85}b", "/"] {
                let document = document(Path::new(name), preset);
                compile(document.as_bytes(), "vantio.yaml").unwrap();
            }
        }
    }

    #[test]
    fn comments_stand_where_what_they_speak_of_stands() {
        let document = document(Path::new("/srv/web"), Preset::Workspace);
        assert!(document.contains("\nnet:\n  # A name is its ports"), "{document}");
        assert!(document.contains("\nexec:\n  # Starting includes reading."), "{document}");
    }
}
