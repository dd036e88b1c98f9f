//! `vantio policy show --effective`

use std::path::Path;

use serde_json::{Value as Json, json};
use vantio_core::Section;
use vantio_policy::{
    Origin, Value,
    layers::{Dropped, Merged},
    render_program,
};

use crate::{
    failure::Failure,
    present,
    run::{
        host,
        policy::{Effective, find, shown_name},
    },
};

/// Prints the policies of a run in this folder as one, and where each line of it is from;
/// `file` is what `run --policy` would be given, or preset:NAME.
pub fn effective(file: Option<&Path>, json: bool) -> Result<(), Failure> {
    let preset = file.and_then(Path::to_str).and_then(|text| text.strip_prefix("preset:"));
    let policy = find(file.filter(|_| preset.is_none()), preset)?;
    let Effective { merged, .. } = Effective::new(&policy, &host::home()?)?;
    let document = render_program(&merged.program);
    if json {
        return present::print_json(to_json(&merged, &document)?);
    }
    present::print(render(&merged, &document))
}

fn render(merged: &Merged, document: &Value) -> String {
    let mut lines = vec!["# the policies of a run here, from the highest:".to_owned()];
    let layers = merged.layers.iter();
    lines.extend(layers.map(|layer| format!("#   {} {}", layer.kind.name(), layer.name)));
    let mut body = Vec::new();
    write(merged, document, "", 0, &mut body);
    let length = |text: &str| text.chars().count();
    let widths = body.iter().filter(|(_, place)| place.is_some()).map(|(text, _)| length(text));
    let width = widths.filter(|width| *width <= WIDTH).max().unwrap_or(0);
    lines.extend(body.into_iter().map(|(text, place)| match place {
        Some(place) => format!("{text}{}  # {place}", " ".repeat(width.saturating_sub(length(&text)))),
        None => text,
    }));
    if !merged.dropped.is_empty() {
        lines
            .push("# not in force, because another policy does not permit all of what it covers:".to_owned());
        lines.extend(merged.dropped.iter().map(|dropped| format!("#   {}", describe(merged, dropped))));
    }
    lines.push(String::new());
    lines.join("\n")
}

/// A line of the document, and where it is from.
type Line = (String, Option<String>);

/// Writes what stands under `path` in block style, a list's elements in a line each.
fn write(merged: &Merged, value: &Value, path: &str, levels: usize, lines: &mut Vec<Line>) {
    let indent = "  ".repeat(levels);
    match value {
        Value::Map(entries) => {
            for (key, value) in entries {
                let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
                let key = Value::Text(key.clone()).to_json();
                let bare = key.trim_matches('"');
                let is_bare = bare.bytes().all(|byte| byte.is_ascii_lowercase() || b"_.".contains(&byte));
                let key = if is_bare { bare } else { &key };
                if is_leaf(value, &path) {
                    let comment = setting(merged, &path).map(|place| of_setting(merged, &path, &place));
                    lines.push((format!("{indent}{key}: {}", value.to_json()), comment));
                } else {
                    lines.push((format!("{indent}{key}:"), None));
                    write(merged, value, &path, levels + 1, lines);
                }
            }
        }
        Value::List(elements) => {
            for (index, element) in elements.iter().enumerate() {
                let comment = element_of(merged, path, index, element).map(|place| of_layer(merged, &place));
                lines.push((format!("{indent}- {}", element.to_json()), comment));
            }
        }
        scalar => lines.push((format!("{indent}{}", scalar.to_json()), None)),
    }
}

/// Whether a value stands in one line.
fn is_leaf(value: &Value, path: &str) -> bool {
    match value {
        Value::Map(entries) => entries.is_empty(),
        Value::List(elements) => elements.is_empty() || path.starts_with("kill_switch"),
        _ => true,
    }
}

/// A layer of [`Merged::layers`], and a place in it.
type Place = (usize, Option<Origin>);

/// Where the element of a list is from.
fn element_of(merged: &Merged, path: &str, index: usize, element: &Value) -> Option<Place> {
    match Section::ALL.into_iter().find(|section| section.name() == path) {
        Some(section) => merged.element_origin(section, index),
        None => match element {
            Value::Text(text) => merged.setting_origin(&format!("{path}[{text}]")),
            _ => None,
        },
    }
}

/// Where a value is from: what has no place of its own has that of what it is part of.
fn setting(merged: &Merged, path: &str) -> Option<Place> {
    merged.setting_origin(path).or_else(|| merged.setting_origin(path.split('.').next()?))
}

/// Where a setting is from; what no document says is a default, whoever's it is.
fn of_setting(merged: &Merged, path: &str, place: &Place) -> String {
    let may_be_unsaid = matches!(path, "mode" | "phantom.commit" | "ledger.details" | "ledger.export");
    if may_be_unsaid && place.1.is_none() { "default".to_owned() } else { of_layer(merged, place) }
}

/// The layer's kind and the place in its document.
fn of_layer(merged: &Merged, (layer, origin): &Place) -> String {
    let layer = &merged.layers[*layer];
    let place = origin.as_ref().map_or_else(|| layer.name.clone(), near);
    format!("{} {place}", layer.kind.name())
}

/// The place, with its file as the layers are named.
fn near(origin: &Origin) -> String {
    let Origin { file, position } = origin;
    format!("{}:{}:{}", shown_name(file.as_bytes()), position.line, position.column)
}

fn describe(merged: &Merged, dropped: &Dropped) -> String {
    let from = of_layer(merged, &(dropped.layer, merged.dropped_origin(dropped)));
    let by = &merged.layers[dropped.by];
    let (rule, section) = (Value::Text(dropped.text.clone()).to_json(), dropped.section);
    format!(
        "{section}: {rule}  # {from}: not within {} of {} {}",
        dropped.by_section,
        by.kind.name(),
        by.name
    )
}

fn to_json(merged: &Merged, document: &Value) -> Result<Json, Failure> {
    let policy: Json = serde_json::from_str(&document.to_json())
        .map_err(|cause| Failure::new("E_OUTPUT", "the policy cannot be written").because(cause))?;
    let layers = merged.layers.iter();
    let layers: Json =
        layers.map(|layer| json!({ "layer": layer.kind.name(), "document": layer.name })).collect();
    let mut origins = Vec::new();
    collect(merged, document, "", &mut origins);
    let dropped = merged.dropped.iter().map(|dropped| {
        json!({
            "key": dropped.section.name(), "rule": dropped.text,
            "layer": merged.layers[dropped.layer].kind.name(),
            "place": merged.dropped_origin(dropped).map(|origin| near(&origin)),
            "by": merged.layers[dropped.by].kind.name(), "by_key": dropped.by_section.name(),
        })
    });
    Ok(json!({
        "layers": layers, "policy": policy, "policy_hash": merged.program.hash().to_string(),
        "origins": origins, "dropped": dropped.collect::<Json>(),
    }))
}

/// The origin of every element and value under `path`.
fn collect(merged: &Merged, value: &Value, path: &str, origins: &mut Vec<Json>) {
    let origin = |value: &Value, place: Option<Place>| {
        let (layer, origin) = place?;
        let value: Json = serde_json::from_str(&value.to_json()).ok()?;
        Some(json!({
            "key": path, "value": value, "layer": merged.layers[layer].kind.name(),
            "place": origin.map(|origin| near(&origin)),
        }))
    };
    match value {
        Value::Map(entries) if !is_leaf(value, path) => {
            for (key, value) in entries {
                let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
                collect(merged, value, &path, origins);
            }
        }
        Value::List(elements) if !is_leaf(value, path) => {
            let elements = elements.iter().enumerate();
            origins
                .extend(elements.filter_map(|(index, element)| {
                    origin(element, element_of(merged, path, index, element))
                }));
        }
        leaf => origins.extend(origin(leaf, setting(merged, path))),
    }
}

/// Columns of a line before its place; longer ones push it to the right.
const WIDTH: usize = 64;
