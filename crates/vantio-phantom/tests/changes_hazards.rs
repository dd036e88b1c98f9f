//! What a commit must not bring unasked: a case for every row of the table of
//! hazards, with the ways around it that a hostile program would try.

#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used)]

mod changes_support;

use std::{collections::BTreeSet, os::fd::AsFd as _};

use changes_support::{World, is_root};
use vantio_phantom::{
    changes::{ChangeSet, Hazard, RunFolder, Surroundings, scan},
    commit::{Options, Selector, commit},
};

/// What stands in a folder of its own before, what a run does there, and the
/// path that is then marked.
struct Case {
    hazard: &'static str,
    before: &'static str,
    script: &'static str,
    path: &'static str,
}

const fn case(hazard: &'static str, before: &'static str, script: &'static str, path: &'static str) -> Case {
    Case { hazard, before, script, path }
}

const REPOSITORY: &str = "mkdir -p .git/hooks .git/info; printf '[core]\\n\\tbare = false\\n[remote \"o\"]\\n\\turl = https://a.example/\\n' > .git/config";

#[rustfmt::skip]
const MARKED: &[Case] = &[
    case("policy", "", "echo > vantio.yaml", "vantio.yaml"),
    case("policy", "", "mkdir -p .config/vantio; echo > .config/vantio/policy.toml", ".config/vantio/policy.toml"),
    case("policy", "", "mkdir x; ln -s x .vantio", ".vantio"),
    case("policy", "echo > vantio.yaml", "rm vantio.yaml", "vantio.yaml"),
    case("policy", "", "echo > VANTIO.yaml", "VANTIO.yaml"),
    case("policy", "mkdir rules; echo 1 > rules/included", "echo 2 > rules/included", "rules/included"),
    case("setuid", "", "echo > s; chmod 4755 s", "s"),
    case("setuid", "echo > s; chmod 755 s", "chmod 2755 s", "s"),
    case("setuid", "", "mkdir d; echo > d/s; chmod 4755 d/s; ln d/s l", "l"),
    case("socket", "", "python3 -c 'import socket; socket.socket(socket.AF_UNIX).bind(\"sock\")'", "sock"),
    case("others-write", "mkdir d", "chmod 777 d", "d"),
    case("others-write", "mkdir -m 1777 d", "chmod 777 d", "d"),
    case("others-write", "mkdir d", "python3 -c 'import os; os.setxattr(\"d\", \"system.posix_acl_default\", bytes.fromhex(\"0200000001000700ffffffff04000500ffffffff20000700ffffffff\"))'", "d"),
    case("others-write", "mkdir -p .git/hooks; chmod 755 .git .git/hooks", "chmod g+w .git/hooks", ".git/hooks"),
    case("others-write", "mkdir -m 755 .vscode", "chmod 1777 .vscode", ".vscode"),
    case("others-write", "", "mkdir -m 777 .husky", ".husky"),
    case("others-write", "echo '{}' > package.json; chmod 644 package.json", "chmod 666 package.json", "package.json"),
    case("other-names", "echo 1 > a; ln a b", "echo 2 > a", "a"),
    case("other-names", "echo 1 > a; ln a b; ln a c", "chmod 600 a b", "b"),
    case("leaving-symlink", "", "ln -s /etc/passwd l", "l"),
    case("leaving-symlink", "", "ln -s ../../../etc l", "l"),
    case("leaving-symlink", "", "mkdir -p a/b; ln -s ../.. a/b/up; ln -s a/b/up/../../etc l", "l"),
    case("leaving-symlink", "ln -s /etc ext", "ln -s ext/passwd l", "l"),
    case("leaving-symlink", "ln -s /etc ext; ln -s ext second", "ln -s second/passwd l", "l"),
    case("leaving-symlink", "ln -s a b; ln -s b a", "ln -s a/x l", "l"),
    case("shadows-program", "", "mkdir bin; echo > bin/git; chmod 755 bin/git", "bin/git"),
    case("shadows-program", "mkdir bin; echo > bin/git", "chmod 755 bin/git", "bin/git"),
    case("shadows-program", "", "mkdir -p node_modules/.bin; ln -s ../x node_modules/.bin/git", "node_modules/.bin/git"),
    case("shadows-program", "", "mkdir tools; ln -s tools bin", "bin"),
    case("shadows-program", "mkdir -p bin o; echo > o/x", "rm -r bin; ln -s o bin", "bin"),
    case("deceptive-name", "", "touch \"$(printf 'a\\342\\200\\256txt.exe')\"", "a\u{202e}txt.exe"),
    case("deceptive-name", "", "touch \"$(printf 'a\\033[8m')\"", "a\x1b[8m"),
    case("hidden-text", "", "printf 'if a\\342\\200\\256 { }\\n' > x.rs", "x.rs"),
    case("hidden-text", "echo plain > x.py", "printf 'a\\342\\200\\213 = 1\\n' >> x.py", "x.py"),
    case("hidden-text", "printf 'a\\342\\200\\213\\n' > x.py", "printf 'b\\342\\200\\213\\n' > x.py", "x.py"),
    case("hidden-text", "", "head -c 3000000 /dev/zero > x.c; printf '\\342\\201\\246' >> x.c; head -c 3000000 /dev/zero >> x.c", "x.c"),
    case("hidden-text", "", "printf '\\177ELF\\000\\377\\342\\200\\256' > x.js", "x.js"),
    case("hidden-text", "", "printf '\\177ELF\\000\\377\\342\\200\\256' > Makefile", "Makefile"),
    case("hidden-text", "", "printf '#!/bin/sh\\n\\342\\200\\256' > tool", "tool"),
    case("hidden-text", "", "printf '\\377\\376a\\000\\056\\040' > x.cs", "x.cs"),
    case("hidden-text", "", "printf 'x\\342\\200\\256' > README", "README"),
    case("git-hook", REPOSITORY, "echo > .git/hooks/pre-commit", ".git/hooks/pre-commit"),
    case("git-hook", REPOSITORY, "echo > .git/hooks/not-known-to-us", ".git/hooks/not-known-to-us"),
    case("git-hook", "mkdir -p .git/hooks; echo > .git/hooks/pre-push", "chmod 755 .git/hooks/pre-push", ".git/hooks/pre-push"),
    case("git-hook", "", "mkdir -p .GIT/Hooks; echo > .GIT/Hooks/PRE-PUSH", ".GIT/Hooks/PRE-PUSH"),
    case("git-hook", "", "mkdir -p git~1/hooks; echo > git~1/hooks/x", "git~1/hooks/x"),
    case("git-hook", "", "mkdir -p .git/modules/m/hooks; echo > .git/modules/m/hooks/x", ".git/modules/m/hooks/x"),
    case("git-hook", "", "mkdir -p bare.git/hooks; echo > bare.git/hooks/x", "bare.git/hooks/x"),
    case("git-hook", "", "mkdir -p plain/hooks; echo > plain/hooks/post-checkout", "plain/hooks/post-checkout"),
    case("git-hook", "", "mkdir tools; echo > tools/commit-msg", "tools/commit-msg"),
    case("git-hook", "mkdir -p .git tools", "ln -s ../tools .git/hooks", ".git/hooks"),
    case("git-directory", "mkdir x", "ln -s x .git", ".git"),
    case("git-directory", "mkdir .git", "rm -r .git; echo 'gitdir: ../x' > .git", ".git"),
    case("git-directory", "mkdir .git", "echo ../x > .git/commondir", ".git/commondir"),
    case("git-directory", "mkdir -p .git/worktrees/w", "echo /x > .git/worktrees/w/gitdir", ".git/worktrees/w/gitdir"),
    case("git-config", REPOSITORY, "printf '[core]\\n\\thooksPath = x\\n' >> .git/config", ".git/config"),
    case("git-config", REPOSITORY, "printf '[alias]\\n\\tst = !x\\n' > .git/config", ".git/config"),
    case("git-config", REPOSITORY, "sed -i s,a.example,b.example, .git/config", ".git/config"),
    case("git-config", REPOSITORY, "head -c 2000000 /dev/zero | tr '\\0' '#' >> .git/config", ".git/config"),
    case("git-config", REPOSITORY, "printf '\\000' >> .git/config", ".git/config"),
    case("git-config", REPOSITORY, "mv .git/config c; ln -s ../c .git/config", ".git/config"),
    case("git-config", "", "printf '[core]\\n\\tpager = x\\n' > .gitconfig", ".gitconfig"),
    case("git-config", "", "mkdir -p .git/worktrees/w; printf '[core]\\n\\tpager = x\\n' > .git/worktrees/w/config.worktree", ".git/worktrees/w/config.worktree"),
    case("git-config", "", "mkdir d; touch d/HEAD; printf '[core]\\n\\tfsmonitor = x\\n' > d/config", "d/config"),
    case("git-config", "mkdir d; touch d/HEAD", "printf '[core]\\n\\tfsmonitor = x\\n' > d/config", "d/config"),
    case("git-bare", "mkdir d; printf '[core]\\n\\tfsmonitor = x\\n' > d/config", "touch d/HEAD", "d/HEAD"),
    case("git-attributes", "", "echo '* filter=x' > .gitattributes", ".gitattributes"),
    case("git-attributes", REPOSITORY, "echo '* diff=x' > .git/info/attributes", ".git/info/attributes"),
    case("git-submodule", "", "echo > .gitmodules", ".gitmodules"),
    case("git-unfinished", "mkdir .git", "mkdir .git/rebase-merge; echo 'exec x' > .git/rebase-merge/git-rebase-todo", ".git/rebase-merge/git-rebase-todo"),
    case("hook-manager", "", "mkdir .husky; echo > .husky/pre-commit", ".husky/pre-commit"),
    case("hook-manager", "", "echo > .pre-commit-config.yaml", ".pre-commit-config.yaml"),
    case("shell-start", "", "echo > .bashrc", ".bashrc"),
    case("shell-start", "echo > .zshenv", "echo x > .zshenv", ".zshenv"),
    case("shell-start", "", "mkdir -p .config/fish/conf.d; echo > .config/fish/conf.d/x.fish", ".config/fish/conf.d/x.fish"),
    case("shell-start", "mkdir other", "ln -s other .config", ".config"),
    case("shell-start", "", "echo > .zshrc.zwc", ".zshrc.zwc"),
    case("shell-start", "", "mkdir -p .local/share/fish/vendor_conf.d; echo > .local/share/fish/vendor_conf.d/x.fish", ".local/share/fish/vendor_conf.d/x.fish"),
    case("shell-start", "", "mkdir -p .local/share/fish/vendor_functions.d; echo > .local/share/fish/vendor_functions.d/x.fish", ".local/share/fish/vendor_functions.d/x.fish"),
    case("shell-start", "", "mkdir .config; echo > .config/bash_completion", ".config/bash_completion"),
    case("shell-start", "", "mkdir -p .local/share/bash-completion/completions; echo > .local/share/bash-completion/completions/x", ".local/share/bash-completion/completions/x"),
    case("envrc", "", "mkdir -p a/b; echo > a/b/.envrc", "a/b/.envrc"),
    case("session-start", "", "mkdir -p .config/autostart; echo > .config/autostart/x.desktop", ".config/autostart/x.desktop"),
    case("credentials", "", "echo > .netrc", ".netrc"),
    case("credentials", "", "mkdir .ssh; echo > .ssh/authorized_keys", ".ssh/authorized_keys"),
    case("editor-task", "", "mkdir .vscode; echo > .vscode/tasks.json", ".vscode/tasks.json"),
    case("editor-task", "", "mkdir -p .idea/runConfigurations; echo > .idea/runConfigurations/x.xml", ".idea/runConfigurations/x.xml"),
    case("editor-task", "", "echo > .nvim.lua", ".nvim.lua"),
    case("editor-task", "", "echo > .exrc", ".exrc"),
    case("editor-task", "mkdir v", "ln -s v .vscode", ".vscode"),
    case("editor-settings", "mkdir .vscode; echo '{}' > .vscode/settings.json", "echo '{\"python.defaultInterpreterPath\": \"x\"}' > .vscode/settings.json", ".vscode/settings.json"),
    case("editor-settings", "", "mkdir .vscode; echo '{\"cSpell.import\": [\"./x.js\"]}' > .vscode/settings.json", ".vscode/settings.json"),
    case("editor-settings", "", "mkdir .vscode; echo '{' > .vscode/settings.json", ".vscode/settings.json"),
    case("tool-start", "", "echo > .tmux.conf", ".tmux.conf"),
    case("tool-start", "", "echo > .iex.exs", ".iex.exs"),
    case("tool-start", "", "echo > .ocamlinit", ".ocamlinit"),
    case("agent-config", "", "echo > .mcp.json", ".mcp.json"),
    case("agent-config", "", "mkdir -p .gemini/commands; echo > .gemini/commands/x.toml", ".gemini/commands/x.toml"),
    case("agent-config", "", "mkdir .copilot; echo > .copilot/mcp-config.json", ".copilot/mcp-config.json"),
    case("agent-instructions", "", "echo > AGENTS.md", "AGENTS.md"),
    case("agent-instructions", "echo > CLAUDE.md", "mkdir sub; echo > sub/claude.md", "sub/claude.md"),
    case("ci", "", "mkdir -p .github/workflows; echo > .github/workflows/x.yml", ".github/workflows/x.yml"),
    case("ci", "", "mkdir -p sub/.github/WORKFLOWS; echo > sub/.github/WORKFLOWS/x.yml", "sub/.github/WORKFLOWS/x.yml"),
    case("ci", "", "echo > .gitlab-ci.yml; echo > Jenkinsfile", "Jenkinsfile"),
    case("ci", "mkdir -p .github ci", "ln -s ../ci .github/workflows", ".github/workflows"),
    case("package-script", "echo '{\"scripts\": {}}' > package.json", "echo '{\"scripts\": {\"postinstall\": \"x\"}}' > package.json", "package.json"),
    case("package-script", "", "mkdir -p node_modules/x; echo '{\"scripts\": {\"install\": \"x\"}}' > node_modules/x/package.json", "node_modules/x/package.json"),
    case("package-script", "echo '{}' > package.json", "echo '{\"gitHooks\": {\"pre-commit\": \"x\"}}' > package.json", "package.json"),
    case("package-script", "", "echo '{\"pre-commit\": [\"x\"]}' > package.json", "package.json"),
    case("package-script", "", "echo '{\"scripts\": {\"x\": \"y\"}}' > composer.json", "composer.json"),
    case("package-manager", "", "mkdir .cargo; echo > .cargo/config.toml", ".cargo/config.toml"),
    case("package-manager", "", "echo > .npmrc", ".npmrc"),
    case("package-manager", "", "mkdir -p .config/pip; echo > .config/pip/pip.conf", ".config/pip/pip.conf"),
    case("container", "", "mkdir .devcontainer; echo > .devcontainer/devcontainer.json", ".devcontainer/devcontainer.json"),
    case("python-start", "", "echo > sitecustomize.py", "sitecustomize.py"),
    case("python-start", "", "mkdir sitecustomize; echo > sitecustomize/__init__.py", "sitecustomize/__init__.py"),
    case("python-start", "", "mkdir usercustomize; echo > usercustomize/__init__.py", "usercustomize/__init__.py"),
    case("python-start", "", "echo > sitecustomize.cpython-312-x86_64-linux-gnu.so", "sitecustomize.cpython-312-x86_64-linux-gnu.so"),
    case("python-start", "", "echo > sitecustomize.pyc", "sitecustomize.pyc"),
];

#[rustfmt::skip]
const HARMLESS: &[Case] = &[
    case("", "", "echo > file; echo > build.rs; echo > Makefile; echo > config", "config"),
    case("", "", "echo > Makefile", "Makefile"),
    // What a build or a test runs is ordinary work.
    case("", "", "echo > conftest.py; echo > CMakePresets.json", "conftest.py"),
    case("", "", "mkdir -p docs; echo > docs/agents-guide.md; echo > docs/aliases", "docs/aliases"),
    case("", "", "mkdir sub; ln -s sub/x l", "l"),
    case("", "echo 1 > a; ln a b", "chmod 600 a b", "a"),
    case("", "echo 1 > a; ln a b", "echo 2 > a; rm b", "a"),
    case("", "echo 1 > a; ln a b", "echo 2 > a; echo 3 > b", "b"),
    case("", "echo 1 > a; ln a b", "echo 2 > a; cat b; : >> b", "a"),
    case("", "mkdir sub", "ln -s sub l; ln -s l second", "second"),
    case("", "", "mkdir bin; echo > bin/git", "bin/git"),
    case("", "", "mkdir bin; echo > bin/of-my-own; chmod 755 bin/of-my-own", "bin/of-my-own"),
    case("", "", "mkdir d; chmod 2755 d", "d"),
    case("", "mkdir -m 755 build", "chmod 775 build", "build"),
    case("", "mkdir -m 755 build", "chmod 1777 build", "build"),
    case("", "mkdir -m 777 build", "chmod 757 build", "build"),
    case("", "", "mkdir -m 777 build", "build"),
    case("", "", "mkdir -m 775 .git", ".git"),
    case("", "echo > run; chmod 644 run", "chmod 777 run", "run"),
    case("", "echo '{}' > package.json; chmod 644 package.json", "chmod 664 package.json", "package.json"),
    case("", "printf 'a\\342\\200\\213\\n' > x.py", "printf 'plain\\na\\342\\200\\213\\n' > x.py", "x.py"),
    case("", "", "printf 'Gr\\303\\266\\303\\237e \\342\\202\\254\\n' > x.md", "x.md"),
    case("", "", "printf '\\177ELF\\000\\377\\342\\200\\256\\377' > program", "program"),
    // A name that is only called like an ending.
    case("", "", "printf '\\177ELF\\000\\377\\342\\200\\256\\377' > go", "go"),
    case("", "", "printf '\\313\\015\\015\\012\\000\\000\\000\\000\\012a\\342\\200\\256b\\012' > x.pyc", "x.pyc"),
    case("", "", "mkdir -p .git/hooks; echo > .git/hooks/pre-commit.sample", ".git/hooks/pre-commit.sample"),
    case("", "", "mkdir .git; printf '[core]\\n\\tbare = false\\n\\tfilemode = true\\n' > .git/config", ".git/config"),
    case("", "", "mkdir .git; echo 'ref: x' > .git/HEAD", ".git/HEAD"),
    case("", REPOSITORY, "printf '[branch \"b\"]\\n\\tremote = o\\n\\tmerge = refs/heads/b\\n' >> .git/config", ".git/config"),
    case("", "printf '[core]\\n\\tpager = less\\n' > .gitconfig", "printf '[user]\\n\\tname = x\\n' >> .gitconfig", ".gitconfig"),
    case("", "", "echo '* text=auto' > .gitattributes", ".gitattributes"),
    case("", "echo '{\"scripts\": {\"a\": \"b\"}}' > package.json", "echo '{\"version\": \"2\", \"scripts\": {\"a\": \"b\"}}' > package.json", "package.json"),
    case("", "", "mkdir -p node_modules/x; echo '{\"scripts\": {\"test\": \"x\"}}' > node_modules/x/package.json", "node_modules/x/package.json"),
    case("", "", "mkdir .vscode; echo '{\"editor.tabSize\": 4}' > .vscode/settings.json", ".vscode/settings.json"),
    case("", "", "mkdir .vscode; echo '{\"cSpell.words\": [\"x\"]}' > .vscode/settings.json", ".vscode/settings.json"),
    case("", "", "mkdir .github; echo > .github/ISSUE_TEMPLATE.md", ".github/ISSUE_TEMPLATE.md"),
    case("", "", "mkdir -p .git/hooks .github/workflows", ".github/workflows"),
    case("", "echo > .envrc", "rm .envrc", ".envrc"),
    // What is installed for a build is ordinary work, too.
    case("", "", "d=.pyenv/versions/3/lib/python3.10/site-packages/x; mkdir -p $d; echo > $d/x.py", ".pyenv/versions/3/lib/python3.10/site-packages/x/x.py"),
    case("", "", "d=.rbenv/versions/3/lib/ruby/gems/3.3.0/gems/x; mkdir -p $d; echo > $d/x.rb", ".rbenv/versions/3/lib/ruby/gems/3.3.0/gems/x/x.rb"),
    case("", "", "d=.cargo/registry/src/i/x; mkdir -p $d; echo > $d/build.rs", ".cargo/registry/src/i/x/build.rs"),
    case("", "", "mkdir -p .sbt/1.0/plugins/target; echo > .sbt/1.0/plugins/target/x; echo > build.sbt", ".sbt/1.0/plugins/target/x"),
    case("", "", "mkdir -p .dotnet; echo > .dotnet/first-use", ".dotnet/first-use"),
];

/// A host with a folder for each case, and what a run made of it.
fn judged(cases: &[Case]) -> (World, ChangeSet) {
    let each = |part: fn(&Case) -> &'static str| -> String {
        let lines = cases.iter().enumerate();
        let lines: Vec<_> = lines
            .map(|(index, case)| format!("(mkdir -p w/{index}; cd w/{index}; {}\n)", part(case)))
            .collect();
        lines.join("\n")
    };
    let programs = "mkdir -p programs home; echo > programs/git; chmod 755 programs/git";
    let world = World::new(&format!(
        "{programs}\n{}",
        each(|case| if case.before.is_empty() { "true" } else { case.before })
    ));
    world.inside(&each(|case| case.script));
    let included = cases.iter().position(|case| case.path == "rules/included");
    let policies = included.map(|index| format!("/w/{index}/rules/included").into_bytes());
    let set = scanned(&world, policies.into_iter().collect());
    (world, set)
}

fn scanned(world: &World, policies: Vec<Vec<u8>>) -> ChangeSet {
    scanned_with(world, &["/home/.local/bin", "/programs"], policies)
}

fn scanned_with(world: &World, search_path: &[&str], policies: Vec<Vec<u8>>) -> ChangeSet {
    scan(&among(world, search_path, policies), world.root.as_fd()).unwrap()
}

fn among(world: &World, search_path: &[&str], policies: Vec<Vec<u8>>) -> RunFolder {
    world.run.clone().among(Surroundings {
        workspace: b"/w".to_vec(),
        home: b"/home".to_vec(),
        search_path: search_path.iter().map(|folder| folder.as_bytes().to_vec()).collect(),
        policies,
        is_glance: false,
    })
}

fn names(set: &ChangeSet, path: &str) -> Vec<&'static str> {
    let change = set.get(path.as_bytes()).unwrap_or_else(|| panic!("{path:?} is no change"));
    change.hazards.iter().map(|hazard| hazard.name()).collect()
}

#[test]
fn what_the_table_names_is_marked() {
    let (_world, set) = judged(MARKED);
    for (index, case) in MARKED.iter().enumerate() {
        let found = names(&set, &format!("/w/{index}/{}", case.path));
        assert!(found.contains(&case.hazard), "{}: `{}` gives {found:?}", case.hazard, case.script);
    }
}

/// Files that programs obey which not everybody has.
#[rustfmt::skip]
const LESS_COMMON: &[(&str, &[&str])] = &[
    ("shell-start", &[
        ".zimrc", ".zprezto/init.zsh", ".zpreztorc", ".zinit/bin/zinit.zsh", ".antigenrc", ".bash_it/lib/x.bash",
        ".p10k.zsh", ".fzf.bash", ".fzf.zsh", ".bash_functions", ".aliases", ".exports", ".zsh_aliases",
        ".nvm/nvm.sh", ".sdkman/bin/sdkman-init.sh", ".rvm/scripts/rvm", ".asdf/asdf.sh",
        ".cargo/env.fish", ".deno/env", ".deno/env.fish", ".local/bin/env", ".local/bin/env.fish", ".bun/_bun",
        ".rye/env", ".ghcup/env", ".elan/env", ".opam/opam-init/x", ".atuin/bin/env", ".wasmer/wasmer.sh",
        ".wasmedge/env", ".local/share/swiftly/env.sh", ".nvm/bash_completion", ".sdkman/src/x", ".sdkman/ext/x",
        ".sdkman/etc/x", ".sdkman/contrib/x", ".rvm/scripts/x", ".gvm/scripts/x", ".asdf/asdf.fish",
        ".asdf/completions/x", ".pyenv/completions/x", ".rbenv/completions/x",
        ".iterm2_shell_integration.zsh", ".bash-preexec.sh", ".git-prompt.sh", ".git-completion.bash",
        ".oh-my-bash/x", ".zplug/x", ".antigen/x", ".antidote/x", ".cache/antidote/x", ".local/share/zinit/x",
        ".local/share/sheldon/x", ".config/sheldon/x", ".local/share/omf/x", ".config/omf/x", ".zcompdump-host-5.9",
        ".cache/p10k-instant-prompt-me.zsh", ".cache/gitstatus/x", ".local/share/nushell/vendor/x",
    ]),
    ("envrc", &["devenv.nix", "devenv.yaml", "flake.nix", ".flox/env/manifest.toml", ".sdkmanrc"]),
    ("session-start", &[
        ".config/awesome/rc.lua", ".config/bspwm/bspwmrc", ".config/sxhkd/sxhkdrc", ".config/openbox/autostart",
        ".config/niri/config.kdl", ".config/river/init", ".config/waybar/config", ".config/polybar/config.ini",
        ".xbindkeysrc",
        ".config/qtile/x", ".config/herbstluftwm/x", ".config/xmonad/x", ".xmonad/x", ".cache/xmonad/x",
        ".local/share/xmonad/x", ".fluxbox/x", ".icewm/x", ".jwmrc", ".config/labwc/x", ".config/wayfire.ini",
        ".config/leftwm/x", ".stumpwmrc", ".stumpwm.d/x", ".config/lxsession/x", ".config/xfce4/x",
        ".config/dunst/x", ".config/mako/x", ".config/eww/x", ".config/conky/x", ".conkyrc", ".config/kanshi/x",
        ".config/swayidle/x", ".config/autorandr/x", ".config/redshift/hooks/x", ".config/pipewire/x",
        ".config/wireplumber/x", ".local/share/gnome-shell/extensions/x@y/extension.js",
        ".local/share/cinnamon/applets/x", ".local/share/cinnamon/desklets/x", ".local/share/cinnamon/extensions/x",
        ".local/share/plasma/x", ".local/share/kwin/x", ".local/share/nautilus-python/x",
        ".local/share/nautilus/scripts/x", ".local/share/nemo-python/x", ".local/share/nemo/actions/x",
        ".local/share/nemo/scripts/x", ".local/share/caja-python/x", ".local/share/file-manager/actions/x",
        ".local/share/kio/servicemenus/x",
    ]),
    ("editor-task", &[
        ".config/VSCodium/User/settings.json", ".config/Cursor/User/settings.json",
        ".config/Cursor/User/profiles/x/tasks.json", ".vscode/extensions/x/main.js",
        ".vscode-server/extensions/x/main.js", ".vscode/c_cpp_properties.json", ".vscode/cmake-kits.json",
        ".theia/tasks.json", "hie.yaml", ".ycm_extra_conf.py", ".vimspector.json",
        ".bsp/x.json", ".local/share/nvim/site/x", ".local/share/nvim/lazy/x", ".local/share/nvim/mason/x",
        ".local/share/nvim/plugged/x", ".cache/nvim/luac/x", ".config/lvim/x", ".local/share/lunarvim/x",
        ".config/doom/x", ".config/micro/x", ".config/kak/x", ".config/kak-lsp/x", ".config/zed/x",
        ".local/share/zed/extensions/x", ".config/sublime-text/x", ".config/sublime-text-3/x",
        ".config/JetBrains/x", ".local/share/JetBrains/x", ".local/share/gedit/plugins/x",
        ".vscode-insiders/extensions/x", ".vscode-oss/extensions/x", ".local/share/code-server/extensions/x",
        ".local/share/code-server/User/x", ".config/gdb/x", ".gdbearlyinit",
    ]),
    ("tool-start", &[
        ".tmux.conf.local", ".tmux/plugins/tpm/tpm", ".mutt/muttrc", ".julia/config/startup.jl", ".erlang",
        ".latexmkrc", "latexmkrc", ".tigrc", ".msmtprc", ".mbsyncrc", ".config/bat/config",
        ".config/ghostty/config", ".config/foot/foot.ini", ".pylintrc", "ansible.cfg",
        ".docker/cli-plugins/docker-x", ".helm/plugins/x/plugin.yaml", ".local/share/helm/plugins/x/plugin.yaml",
        ".nvm/nvm-exec", ".pyenv/libexec/x", ".pyenv/pyenv.d/exec/x.bash", ".pyenv/plugins/x", ".rbenv/libexec/x",
        ".rbenv/rbenv.d/x", ".rbenv/plugins/x", ".asdf/lib/x", ".asdf/plugins/x",
 ".sdkman/libexec/x", ".rustup/settings.toml",
        ".rustup/toolchains/stable-x/bin/cargo", ".rustup/toolchains/1.0/lib/x", ".rustup/toolchains/1.0/libexec/x",
        ".dotnet/dotnet", ".dotnet/host/x", ".dotnet/sdk/x", ".dotnet/shared/x", ".dotnet/tools/x",
        ".nvm/versions/node/v20.1.0/lib/node_modules/npm/x",
        ".nvm/versions/node/v20.1.0/lib/node_modules/corepack/x", ".local/share/uv/tools/x",
        ".local/share/pipx/venvs/x", ".local/pipx/venvs/x", ".local/share/pypoetry/venv/x", ".config/yt-dlp/x",
        ".config/yt-dlp.conf", ".config/zellij/x", ".config/lf/x", ".config/lazygit/x", ".config/ranger/x",
        ".config/yazi/x", ".config/nnn/x", ".config/vifm/x", ".vifm/x", ".config/broot/x", ".config/aerc/x",
        ".config/mutt/x", ".config/neomutt/x", ".neomuttrc", ".config/newsboat/x", ".newsboat/config",
        ".config/weechat/x", ".weechat/x", ".irssi/x", ".config/qutebrowser/x", ".config/k9s/x", ".krew/store/x",
        ".local/share/gh/extensions/x", ".ripgreprc", ".config/curlrc", ".config/hg/hgrc", ".config/tig/config",
        ".config/msmtp/config", ".config/octave/octaverc", ".config/irb/irbrc", ".config/pry/pryrc",
        ".ghc/ghci.conf", ".config/ptpython/x", ".ansible.cfg", ".ansible/plugins/x", ".terraform.d/x",
        ".vagrant.d/x",
        ".rbenv/versions/1.0/lib/ruby/3.3.0/set.rb", ".rvm/rubies/1.0/lib/ruby/3.3.0/set.rb",
        ".asdf/installs/ruby/1.0/lib/ruby/3.3.0/set.rb",
    ]),
    ("agent-config", &[
        ".claude-plugin/plugin.json",
        ".agents/skills/x", ".codex/skills/x", ".codex/.env", ".gemini/skills/x", ".gemini/policies/x",
        ".qwen/.env", ".qwen/agents/x", ".qwen/commands/x", ".qwen/extensions/x", ".qwen/skills/x",
        ".github/agents/x", ".github/hooks/x", ".github/skills/x", ".copilot/agents/x", ".copilot/skills/x",
        ".claude/statusline.sh", ".claude/local/x", ".local/share/claude/versions/x",
        ".local/share/cursor-agent/versions/x", ".cache/opencode/node_modules/x", ".cache/opencode/bin/x",
        ".factory/x", ".amp/x", ".config/amp/x", ".openhands/x", ".roomodes", ".kilocodemodes",
        "claude_desktop_config.json",
    ]),
    ("agent-instructions", &[
        "AGENTS.md", "CLAUDE.md", "CLAUDE.local.md", "GEMINI.md", ".cursorrules", ".windsurfrules", "a/.clinerules",
        ".clinerules/x.md", ".github/copilot-instructions.md", ".codex/prompts/x.md",
        "AGENTS.override.md", "AGENT.md", "QWEN.md", "WARP.md", "replit.md", ".rules", ".goosehints", ".roorules",
        ".roorules-code", ".claude/rules/x", ".claude/output-styles/x", ".codex/instructions.md",
        ".gemini/system.md", ".copilot/copilot-instructions.md", ".github/instructions/x", ".github/prompts/x",
        ".github/chatmodes/x", ".junie/guidelines.md", ".aiassistant/rules/x", ".augment/rules/x",
        ".augment-guidelines", ".trae/rules/x", ".qoder/rules/x", ".tabnine/guidelines/x",
        ".codeium/windsurf/memories/x",
    ]),
    ("container", &["devfile.yaml", ".devfile.yaml"]),
    ("package-manager", &[
        ".sbt/1.0/x.sbt", ".sbt/1.0/X.scala", ".sbt/1.0/plugins/x.sbt", ".sbt/1.0/plugins/X.scala",
        ".sbt/boot/scala-2.12.18/org.scala-sbt/sbt/1.9.0/main.jar", ".sbt/launchers/x",
        ".cache/sbt/boot/sbt-launch/x", ".gradle/wrapper/dists/g/1/lib/gradle-launcher.jar", ".gradle/jdks/x",
        ".cache/bazelisk/x", ".cache/bazel/1.0/install/x", ".cache/pre-commit/repo1/py_env-python3/lib/x.py",
        ".cache/prek/x", ".npm/_npx/0123/node_modules/x/index.js", ".cache/pnpm/dlx/x", ".cache/node/corepack/x",
        ".config/pnpm/rc", ".gem/ruby/1.0/plugins/x", ".local/share/gem/ruby/1.0/plugins/x", ".config/gem/gemrc",
        ".cabal/config", ".config/cabal/config", ".stack/config.yaml", ".stack/programs/x", ".lein/x",
        ".clojure/deps.edn", ".config/clojure/deps.edn", ".composer/x", ".config/composer/x", ".mix/archives/x",
        ".mix/escripts/x", ".conan2/extensions/x", ".conan2/profiles/x", ".ccache/ccache.conf",
        ".config/ccache/ccache.conf", ".rpmmacros", ".devscripts", ".sbuildrc", ".config/sbuild/config.pl",
        ".pbuilderrc", ".makepkg.conf", ".config/pacman/makepkg.conf",
    ]),
    ("python-start", &[
        ".venv/bin/python._pth", ".venv/pyvenv.cfg",
        ".pyenv/versions/1.0/lib/python3.10/os.py", ".pyenv/versions/1.0/lib/libpython3.10.so.1.0",
        ".asdf/installs/python/1.0/lib/python3.10/os.py", ".asdf/installs/python/1.0/lib/libpython3.10.so.1.0",
        ".local/share/uv/python/1.0/lib/python3.10/os.py", ".local/share/uv/python/1.0/lib/libpython3.10.so.1.0",
    ]),
    ("system", &[
        "/etc/fstab", "/etc/crypttab", "/etc/inputrc", "/etc/xinetd.d/x", "/etc/inetd.conf",
        "/etc/docker/daemon.json", "/etc/libvirt/hooks/qemu", "/etc/sudo.conf", "/etc/kubernetes/manifests/x.yaml",
        "/etc/ca-certificates/update.d/x", "/usr/lib/x86_64-linux-gnu/security/pam_x.so",
        "/usr/lib/security/pam_x.so", "/usr/lib64/security/pam_x.so",
        "/usr/share/dbus-1/system-services/x.service", "/usr/share/polkit-1/actions/x.policy",
    ]),
];

#[test]
fn what_less_common_programs_obey_is_marked() {
    let world = World::new("mkdir -p w etc usr");
    let all: Vec<(&str, String)> = LESS_COMMON
        .iter()
        .flat_map(|(hazard, paths)| paths.iter().map(move |path| (*hazard, *path)))
        .map(|(hazard, path)| {
            (hazard, if path.starts_with('/') { path.into() } else { format!("/w/{path}") })
        })
        .collect();
    let made = |(_, path): &(&str, String)| format!("mkdir -p $(dirname .{path}); echo > .{path}");
    world.inside(&all.iter().map(made).collect::<Vec<_>>().join("\n"));
    let set = scanned(&world, Vec::new());
    for (hazard, path) in all {
        assert_eq!(names(&set, &path), [hazard], "{path}");
    }
}

#[test]
fn ordinary_work_is_not() {
    let (_world, set) = judged(HARMLESS);
    for (index, case) in HARMLESS.iter().enumerate() {
        let found = names(&set, &format!("/w/{index}/{}", case.path));
        assert_eq!(found, [""; 0], "{}", case.script);
    }
}

#[test]
fn every_row_of_the_table_has_a_case() {
    let tested: BTreeSet<_> = MARKED.iter().map(|case| case.hazard).collect();
    // These need root, or another place than a workspace: see the tests below.
    let elsewhere = ["device", "capabilities", "overlay-attributes", "system", "unread"];
    for hazard in Hazard::all() {
        let name = hazard.name();
        assert!(tested.contains(name) || elsewhere.contains(&name), "{name} has no case");
        assert!(!hazard.reason().is_empty());
    }
}

#[test]
fn what_only_root_can_leave_is_marked() {
    if !is_root() {
        return;
    }
    let world = World::new("mkdir -p w etc; echo > w/base");
    world.inside(
        "mknod w/zero c 1 5; echo > w/cap; setcap cap_net_raw+ep w/cap; echo > w/marked; setfattr -n user.overlay.opaque -v y w/marked
         mkdir -p etc/cron.d etc/sudoers.d; echo > etc/cron.d/x; echo > etc/sudoers.d/x; echo > etc/ld.so.preload",
    );
    let set = scanned(&world, Vec::new());
    assert_eq!(names(&set, "/w/zero"), ["device"]);
    assert_eq!(names(&set, "/w/cap"), ["capabilities"]);
    assert_eq!(names(&set, "/w/marked"), ["overlay-attributes"]);
    for path in ["/etc/cron.d/x", "/etc/sudoers.d/x", "/etc/ld.so.preload"] {
        assert_eq!(names(&set, path), ["system"], "{path}");
    }
}

#[test]
fn what_the_system_obeys_is_marked() {
    let folders = [
        "etc/update-motd.d",
        "etc/logrotate.d",
        "etc/default",
        "etc/sysctl.d",
        "etc/tmpfiles.d",
        "etc/NetworkManager/dispatcher.d",
        "etc/apt/apt.conf.d",
        "etc/kernel/postinst.d",
        "etc/dhcp/dhclient-exit-hooks.d",
        "usr/local/lib/systemd/system",
        "usr/lib/tmpfiles.d",
    ];
    let world = World::new(&format!("mkdir -p w {}", folders.join(" ")));
    let written: Vec<_> = folders.iter().map(|folder| format!("echo > {folder}/x")).collect();
    world.inside(&written.join("; "));
    let set = scanned(&world, Vec::new());
    for folder in folders {
        assert_eq!(names(&set, &format!("/{folder}/x")), ["system"], "{folder}");
    }
}

#[test]
fn anything_executable_in_a_folder_of_path_is_marked() {
    let world = World::new("mkdir -p w home/.local real programs; ln -s ../../real home/.local/bin");
    world.inside("echo > real/new; chmod 755 real/new; echo > real/data");
    let set = scanned(&world, Vec::new());
    assert_eq!(names(&set, "/real/new"), ["shadows-program"]);
    assert_eq!(names(&set, "/real/data"), [""; 0]);
}

#[test]
fn a_symlink_in_the_place_of_a_folder_of_path_is_marked() {
    let world = World::new(
        "mkdir -p w/tools w/venv/v w/real w/other w/plain home; ln -s ../real w/link; mkdir w/a; ln -s ../real w/a/b; ln -s real w/step; ln -s step w/first",
    );
    world.inside(
        "cd w; rmdir tools; ln -s x tools; mkdir x; rm -r venv; ln -s x venv; ln -s x missing; rm -r a; ln -s x a; rm step; ln -s x step
         rmdir plain; ln -s x plain; echo > x/ls; chmod 755 x/ls",
    );
    let set =
        scanned_with(&world, &["/w/tools/", "/w/venv/v", "/w/missing/v", "/w/a/b", "/w/first"], Vec::new());
    for path in ["/w/tools", "/w/venv", "/w/missing", "/w/a", "/w/step"] {
        assert_eq!(names(&set, path), ["shadows-program"], "{path}");
    }
    assert_eq!(names(&set, "/w/plain"), [""; 0]);
}

#[test]
fn a_folder_in_the_place_of_a_symlink_of_path_is_marked_for_its_programs() {
    let world = World::new("mkdir -p w/real home; ln -s real w/step; ln -s step w/first; ln -s real w/plain");
    world.inside(
        "cd w; rm step plain; mkdir step plain; for d in step plain; do echo > $d/of-my-own; chmod 755 $d/of-my-own; done",
    );
    let set = scanned_with(&world, &["/w/first"], Vec::new());
    assert_eq!(names(&set, "/w/step/of-my-own"), ["shadows-program"]);
    assert_eq!(names(&set, "/w/plain/of-my-own"), [""; 0]);
}

#[test]
fn a_folder_that_is_renamed_to_one_of_path_is_marked() {
    if !is_root() {
        return;
    }
    let world = World::new(
        "mkdir -p w/venv/v w/new/v w/next w/k w/o home; echo > w/new/v/of-my-own; chmod 755 w/new/v/of-my-own; ln -s ../k w/next/v",
    );
    world.inside("cd w; rm -r venv; mv new venv; mv next second; mv o plain");
    let set = scanned_with(&world, &["/w/venv/v", "/w/second/v"], Vec::new());
    for path in ["/w/venv", "/w/second"] {
        assert_eq!(names(&set, path), ["shadows-program"], "{path}");
    }
    assert_eq!(names(&set, "/w/plain"), [""; 0]);
}

#[test]
fn a_folder_that_programs_or_the_user_depend_on_is_marked_when_a_group_may_write_there() {
    let world = World::new(
        "mkdir -p w/x w/y home/sub real programs; ln -s ../real home/path; chmod -R u=rwx,go=rx .",
    );
    world.inside("chmod g+w w w/x home home/sub real programs");
    let set = scanned_with(&world, &["/home/path", "/programs"], Vec::new());
    for path in ["/w", "/home", "/real", "/programs"] {
        assert_eq!(names(&set, path), ["others-write"], "{path}");
    }
    for path in ["/w/x", "/home/sub"] {
        assert_eq!(names(&set, path), [""; 0], "{path}");
    }
}

#[test]
fn a_folder_that_everybody_may_write_is_marked_where_something_depends_on_it() {
    if !is_root() {
        return;
    }
    let world = World::new("mkdir -p w/a/in w/b/in w/c/in home; chmod 777 w/a w/b; chmod 775 w/c");
    world.inside("cd w; mv a .git; mv b plain; mv c .husky");
    let set = scanned(&world, Vec::new());
    assert_eq!(names(&set, "/w/.git"), ["others-write"]);
    for path in ["/w/plain", "/w/.husky"] {
        assert_eq!(names(&set, path), [""; 0], "{path}");
    }
}

#[test]
fn an_access_list_that_lets_another_write_is_marked() {
    if !is_root() {
        return;
    }
    let world =
        World::new("mkdir -p w/.ssh w/.git w/d w/.vscode home; chmod -R 755 w; echo '{}' > w/package.json");
    // Owner, user 1000, group, mask and others.
    let list = |user: u8, mask: u8| {
        format!(
            "0200000001000700ffffffff0200{user:02}00e803000004000500ffffffff1000{mask:02}00ffffffff20000500ffffffff"
        )
    };
    let set_list = |path: &str, list: &str| {
        format!("os.setxattr(\"w/{path}\", \"system.posix_acl_access\", bytes.fromhex(\"{list}\"))")
    };
    let lines = [
        set_list(".ssh", &list(7, 7)),
        set_list("package.json", &list(7, 7)),
        set_list("d", &list(7, 7)),
        set_list(".git", &list(5, 7)),
        set_list(".vscode", &list(7, 5)),
    ];
    world.inside(&format!("python3 -c 'import os; {}'; chown 1000 w/.ssh", lines.join("; ")));
    let set = scanned(&world, Vec::new());
    for path in ["/w/.ssh", "/w/package.json"] {
        assert_eq!(names(&set, path), ["others-write"], "{path}");
    }
    for path in ["/w/d", "/w/.git", "/w/.vscode"] {
        assert_eq!(names(&set, path), [""; 0], "{path}");
    }
}

#[test]
fn a_symlink_that_leads_out_after_its_folder_moved_is_marked() {
    if !is_root() {
        return;
    }
    let world = World::new(
        "mkdir -p w/a/b w/a/c w/secrets secrets w/d home; ln -s ../../secrets w/a/b/link; ln -s ../../secrets w/a/c/link; ln -s /etc w/d/out",
    );
    world.inside("cd w; mv a/b b; mkdir e; mv a/c e/c; mv d f");
    let set = scanned(&world, Vec::new());
    assert_eq!(names(&set, "/w/b"), ["leaving-symlink"]);
    assert_eq!(names(&set, "/w/e/c"), [""; 0]);
    // It led out before, and leads where it led.
    assert_eq!(names(&set, "/w/f"), [""; 0]);
}

#[test]
fn a_file_that_is_obeyed_under_a_name_in_a_folder_below_is_marked() {
    let world = World::new(
        "mkdir -p w/p/q/.vscode w/shared w/vs w/one w/two w/node_modules/x home; echo 1 > w/shared/tasks.json; ln -s ../../../shared/tasks.json w/p/q/.vscode/tasks.json
         ln -s ../vs w/one/.vscode; ln -s ../shared/env w/two/.envrc; ln -s step w/two/.exrc; ln -s ../shared/rc w/two/step; ln -s ../shared/plain w/two/name
         echo 1 > w/shared/rc; ln -s ../../shared/installed w/node_modules/x/.envrc; mkdir w/over; echo > w/over/env; ln -s ../over/env w/one/.envrc",
    );
    world.inside(
        "cd w; echo 2 > shared/tasks.json; echo > vs/launch.json; echo > shared/env; echo > shared/plain; rm two/step; ln -s ../x two/step; echo 2 > shared/rc
         echo > shared/installed; rm -r over; ln -s x over; echo > vs/other",
    );
    let set = scanned(&world, Vec::new());
    for path in ["/w/shared/tasks.json", "/w/vs/launch.json", "/w/shared/rc", "/w/two/step"] {
        assert_eq!(names(&set, path), ["editor-task"], "{path}");
    }
    // What the host has not yet, and what is reached through a folder that is none now.
    for path in ["/w/shared/env", "/w/over"] {
        assert_eq!(names(&set, path), ["envrc"], "{path}");
    }
    for path in ["/w/shared/plain", "/w/shared/installed", "/w/vs/other"] {
        assert_eq!(names(&set, path), [""; 0], "{path}");
    }
    // That is not looked for where nothing is committed.
    let glance = among(&world, &[], Vec::new()).at_a_glance();
    assert_eq!(names(&scan(&glance, world.root.as_fd()).unwrap(), "/w/shared/tasks.json"), [""; 0]);
}

#[test]
fn a_folder_that_is_renamed_to_where_a_symlink_leads_is_marked() {
    if !is_root() {
        return;
    }
    let world = World::new("mkdir -p w/p w/new home; echo > w/new/env; ln -s ../shared/env w/p/.envrc");
    world.inside("cd w; mv new shared");
    assert_eq!(names(&scanned(&world, Vec::new()), "/w/shared"), ["envrc"]);
}

#[test]
fn a_file_that_is_obeyed_under_another_name_is_marked() {
    let world = World::new(
        "mkdir -p w/dotfiles w/ci w/.github w/vs home; echo > w/dotfiles/rc; ln -s ../w/dotfiles/rc home/.bashrc
         ln -s ../ci w/.github/workflows; ln -s vs w/.vscode",
    );
    world.inside("echo x > w/dotfiles/rc; echo > w/ci/new.yml; echo '{\"a.b\": 1}' > w/vs/settings.json; echo > w/ordinary");
    let set = scanned(&world, Vec::new());
    assert_eq!(names(&set, "/w/dotfiles/rc"), ["shell-start"]);
    assert_eq!(names(&set, "/w/ci/new.yml"), ["ci"]);
    assert_eq!(names(&set, "/w/vs/settings.json"), ["editor-settings"]);
    assert_eq!(names(&set, "/w/ordinary"), [""; 0]);
}

#[test]
fn a_renamed_folder_is_marked_for_what_is_in_it() {
    if !is_root() {
        return;
    }
    let world = World::new(
        "mkdir -p w/a/hooks w/b/workflows w/.github w/c/bin w/d w/e/sub; echo > w/a/hooks/anything; echo > w/b/workflows/x.yml
         printf '[core]\\n\\tpager = x\\n' > w/d/config; echo > w/c/bin/git; chmod 755 w/c/bin/git; echo > w/e/sub/file; mkdir w/f; echo > w/f/.envrc",
    );
    world.inside(
        "cd w; mv a .git; mv b/workflows .github/workflows; mv d x; mkdir y; mv x y/.git; mv c moved; mv e plain; mv f g",
    );
    let set = scanned(&world, Vec::new());
    assert_eq!(names(&set, "/w/.git"), ["git-hook"]);
    assert_eq!(names(&set, "/w/.github/workflows"), ["ci"]);
    assert_eq!(names(&set, "/w/y/.git"), ["git-config"]);
    assert_eq!(names(&set, "/w/plain"), [""; 0]);
    // It was one in the other folder too, and may not have been obeyed there.
    assert_eq!(names(&set, "/w/g"), ["envrc"]);
}

#[test]
fn a_renamed_folder_is_marked_as_a_copy_of_it_would_be() {
    if !is_root() {
        return;
    }
    let before = "mkdir -p w/vendor; cd w/vendor; mkdir -p .vscode .husky .github/workflows .vantio bare kept/web many
         echo > .vscode/tasks.json; echo > .husky/pre-commit; echo > .github/workflows/x.yml; echo > .vantio/policy.yaml
         echo ref > bare/HEAD; printf '[core]\\n\\tpager = x\\n' > bare/config; echo > kept/config; echo '{}' > kept/package.json
         mkdir -p kept/node_modules/x; echo '{\"scripts\": {\"test\": \"x\"}}' > kept/node_modules/x/package.json
         for n in 1 2 3; do mkdir many/$n; echo '{\"scripts\": {\"x\": \"y\"}}' > many/$n/package.json; done";
    let world = World::new(before);
    world.inside(
        "cd w; for d in .vscode .husky .github .vantio bare; do mv vendor/$d .; done; mv vendor/kept kept; mv vendor/many many",
    );
    let set = scanned(&world, Vec::new());
    assert_eq!(names(&set, "/w/.vscode"), ["editor-task"]);
    assert_eq!(names(&set, "/w/.husky"), ["git-hook", "hook-manager"]);
    assert_eq!(names(&set, "/w/.github"), ["ci"]);
    assert_eq!(names(&set, "/w/.vantio"), ["policy"]);
    assert_eq!(names(&set, "/w/bare"), ["git-bare"]);
    assert_eq!(names(&set, "/w/kept"), [""; 0]);
    // However many there are, the folder is one change with one mark.
    assert_eq!(names(&set, "/w/many"), ["package-script"]);
}

#[test]
fn what_is_withheld_does_not_come_along() {
    let world = World::new("mkdir -p .git/hooks; echo > ordinary");
    world.inside("echo > plain; ln plain .git/hooks/pre-commit; echo x > ordinary");
    let withheld = [b"/.git/hooks/pre-commit".to_vec()];
    let options = Options { withheld: &withheld, ..Options::default() };
    let selection = [Selector::new("/plain"), Selector::new("/ordinary")];
    let report = commit(&world.run, &selection, options, world.root.as_fd()).unwrap();
    assert_eq!(changes_support::paths(&report.committed), ["/ordinary"]);
    assert_eq!(report.held.len(), 1, "{report:?}");
    assert!(!world.host().join(".git/hooks/pre-commit").exists() && !world.host().join("plain").exists());
}
