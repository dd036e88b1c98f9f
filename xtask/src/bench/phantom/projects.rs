//! The projects that whole programs work on: a large repository, and sources in C, Rust and JavaScript, both
//! such as people have and such as leave a compiler the least to do.

use std::{fs, path::Path, process::Command};

use crate::{
    failure::{AtPath, Failure},
    layout, shell,
};

/// Writes every project below `workspace`.
pub fn write(workspace: &Path) -> Result<(), Failure> {
    repository(&workspace.join("repository"))?;
    rust_project(&workspace.join("rust"))?;
    c_project(&workspace.join("c"))?;
    small_c_project(&workspace.join("c-small"))?;
    small_rust_project(&workspace.join("rust-small"))?;
    npm_project(&workspace.join("npm"))
}

/// A repository of many small files.
fn repository(directory: &Path) -> Result<(), Failure> {
    for folder in 0..FOLDERS {
        let folder_path = directory.join(format!("part-{}/folder-{folder}", folder / 20));
        fs::create_dir_all(&folder_path).at(&folder_path)?;
        for file in 0..FILES {
            write_file(&folder_path.join(format!("file-{file}.txt")), &format!("{folder} {file}\n"))?;
        }
    }
    let git = |arguments: &[&str]| shell::quiet(Command::new("git").current_dir(directory).args(arguments));
    git(&["init", "--quiet"])?;
    // Nothing tidies up while others measure.
    git(&["config", "gc.auto", "0"])?;
    git(&["add", "--all"])?;
    let who = ["-c", "user.name=Bench", "-c", "user.email=bench@example.com"];
    git(&[&who[..], &["commit", "--quiet", "--message=All"]].concat())?;
    Ok(())
}

/// A library in Rust as it is published on crates.io, with the sources of all it needs.
fn rust_project(directory: &Path) -> Result<(), Failure> {
    vendor(directory, "serde_json = \"=1.0.154\"")?;
    write_file(&directory.join("lib.rs"), "pub use serde_json::Value;\n")?;
    fs::create_dir(directory.join(".cargo")).at(directory)?;
    write_file(&directory.join(".cargo/config.toml"), VENDORED)
}

/// Lua, which crates.io has as well, with a plain makefile.
fn c_project(directory: &Path) -> Result<(), Failure> {
    let fetched = directory.with_extension("fetched");
    vendor(&fetched, "lua-src = \"=551.1.0\"")?;
    fs::rename(fetched.join("vendor/lua-src/lua-5.4.9"), directory).at(directory)?;
    fs::remove_dir_all(&fetched).at(&fetched)?;
    let makefile = "SOURCES := $(filter-out lua.c luac.c onelua.c ltests.c,$(wildcard *.c))\nout/liblua.a: $(SOURCES:%.c=out/%.o)\n\tar rcs $@ $^\nout/%.o: %.c | out\n\tcc -O1 -c -o $@ $<\nout:\n\tmkdir -p out\n";
    write_file(&directory.join("Makefile"), makefile)
}

/// Makes a package of one dependency, whose sources lie beside it.
fn vendor(directory: &Path, dependency: &str) -> Result<(), Failure> {
    fs::create_dir_all(directory).at(directory)?;
    let manifest = directory.join("Cargo.toml");
    let text = format!(
        "[package]\nname = \"bench\"\nversion = \"0.1.0\"\nedition = \"2021\"\n[lib]\npath = \"lib.rs\"\n[dependencies]\n{dependency}\n[workspace]\n"
    );
    write_file(&manifest, &text)?;
    write_file(&directory.join("lib.rs"), "")?;
    // From the root of this project, for its compiler.
    let mut cargo = Command::new("cargo");
    cargo.current_dir(layout::root()).args(["vendor", "--quiet", "--manifest-path"]).arg(manifest);
    shell::quiet(cargo.arg(directory.join("vendor"))).map(drop)
}

/// A C project of many files of three lines.
fn small_c_project(directory: &Path) -> Result<(), Failure> {
    fs::create_dir_all(directory).at(directory)?;
    let (mut declarations, mut sum) = ("#include <stdio.h>\n".to_owned(), "0".to_owned());
    for number in 0..C_FILES {
        let body = format!(
            "#include <stdlib.h>\n#include <string.h>\nint part{number}(int x) {{ char *p = malloc(64); memset(p, x, 64); int r = p[x & 63] + {number}; free(p); return r; }}\n"
        );
        write_file(&directory.join(format!("part{number}.c")), &body)?;
        declarations = format!("{declarations}int part{number}(int);\n");
        sum = format!("{sum} + part{number}(1)");
    }
    let main = format!("{declarations}int main(void) {{ printf(\"%d\\n\", {sum}); }}\n");
    write_file(&directory.join("main.c"), &main)?;
    let makefile = "OBJECTS := $(patsubst %.c,out/%.o,$(wildcard *.c))\nout/program: $(OBJECTS)\n\tcc -o $@ $^\nout/%.o: %.c\n\t@mkdir -p out\n\tcc -O1 -c -o $@ $<\n";
    write_file(&directory.join("Makefile"), makefile)
}

/// A Cargo workspace of a few crates, each with a few modules, and no dependency from elsewhere.
fn small_rust_project(directory: &Path) -> Result<(), Failure> {
    let mut members = String::new();
    for number in 0..CRATES {
        let name = format!("crate{number}");
        let source = directory.join(&name).join("src");
        fs::create_dir_all(&source).at(&source)?;
        let before = number.checked_sub(1).map_or_else(String::new, |before| {
            format!("[dependencies]\ncrate{before} = {{ path = \"../crate{before}\" }}\n")
        });
        write_file(
            &directory.join(&name).join("Cargo.toml"),
            &format!("[package]\nname = \"{name}\"\nversion = \"0.1.0\"\nedition = \"2021\"\n{before}"),
        )?;
        let modules: Vec<_> = (0..MODULES).map(|module| format!("pub mod module{module};\n")).collect();
        write_file(&source.join("lib.rs"), &modules.concat())?;
        for module in 0..MODULES {
            let body = "use std::collections::BTreeMap;\npub fn count(text: &str) -> BTreeMap<String, usize> {\n    let mut counts = BTreeMap::new();\n    for word in text.split_whitespace() {\n        *counts.entry(word.to_owned()).or_default() += 1;\n    }\n    counts\n}\n";
            write_file(&source.join(format!("module{module}.rs")), body)?;
        }
        members = format!("{members}\"{name}\", ");
    }
    write_file(
        &directory.join("Cargo.toml"),
        &format!("[workspace]\nresolver = \"2\"\nmembers = [{members}]\n"),
    )
}

/// A package with dependencies, each an archive beside it: nothing comes from a registry.
fn npm_project(directory: &Path) -> Result<(), Failure> {
    let mut dependencies = Vec::new();
    let archives = directory.join("archives");
    fs::create_dir_all(&archives).at(&archives)?;
    for number in 0..PACKAGES {
        let package = directory.join("source/package");
        fs::create_dir_all(package.join("lib")).at(&package)?;
        let name = format!("part{number}");
        write_file(
            &package.join("package.json"),
            &format!("{{\"name\":\"{name}\",\"version\":\"1.0.0\"}}\n"),
        )?;
        for file in 0..PACKAGE_FILES {
            write_file(&package.join(format!("lib/{file}.js")), &format!("module.exports = {file};\n"))?;
        }
        let mut tar = Command::new("tar");
        tar.arg("-czf").arg(archives.join(format!("{name}.tgz")));
        shell::quiet(tar.arg("-C").arg(directory.join("source")).arg("package"))?;
        dependencies.push(format!("\"{name}\":\"file:archives/{name}.tgz\""));
    }
    fs::remove_dir_all(directory.join("source")).at(directory)?;
    write_file(
        &directory.join("package.json"),
        &format!(
            "{{\"name\":\"bench\",\"version\":\"1.0.0\",\"dependencies\":{{{}}}}}\n",
            dependencies.join(",")
        ),
    )
}

fn write_file(path: &Path, text: &str) -> Result<(), Failure> {
    fs::write(path, text).at(path)
}

/// Where Cargo finds the sources of a package.
const VENDORED: &str =
    "[source.crates-io]\nreplace-with = \"vendored\"\n[source.vendored]\ndirectory = \"vendor\"\n";

const FOLDERS: u32 = 400;
const FILES: u32 = 50;
const C_FILES: u32 = 40;
const CRATES: u32 = 6;
const MODULES: u32 = 8;
const PACKAGES: u32 = 30;
const PACKAGE_FILES: u32 = 40;
