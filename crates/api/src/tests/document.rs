//! The OpenAPI document is complete, sound, and the one that is checked in.

use super::world::*;
use crate::{endpoints, openapi};
use expect_test::expect_file;
use serde_json::Value;
use std::collections::BTreeSet;

/// To accept a change: `UPDATE_EXPECT=1 cargo nextest run -p api`.
#[test]
fn the_document_is_the_one_that_is_checked_in() {
    let text = serde_json::to_string_pretty(&openapi()).unwrap() + "\n";
    expect_file!["../../../../docs/reference/openapi.json"].assert_eq(&text);
}

#[test]
fn every_endpoint_is_in_the_document_under_a_name_of_its_own() {
    let document = openapi();
    let mut names = BTreeSet::new();
    for endpoint in endpoints::all() {
        let method = format!("{:?}", endpoint.method).to_lowercase();
        assert_eq!(document["paths"][endpoint.path][&method]["operationId"], endpoint.name);
        assert!(names.insert(endpoint.name), "{}", endpoint.name);
        for parameter in endpoint.path.split(['{', '}']).skip(1).step_by(2) {
            let parameters = document["paths"][endpoint.path][&method]["parameters"].as_array().unwrap();
            assert!(parameters.iter().any(|p| p["name"] == parameter && p["required"] == true), "{parameter}");
        }
    }
}

#[test]
fn every_reference_in_the_document_leads_somewhere() {
    let document = openapi();
    let mut references = Vec::new();
    collect(&document, &mut references);
    assert!(references.len() > 50, "{}", references.len());
    for reference in references {
        let pointer = reference.strip_prefix('#').unwrap();
        assert!(document.pointer(pointer).is_some(), "{reference}");
    }
}

#[test]
fn every_schema_has_a_name_that_says_what_it_is() {
    let document = openapi();
    for name in document["components"]["schemas"].as_object().unwrap().keys() {
        assert!(
            !name.ends_with(|c: char| c.is_ascii_digit()),
            "{name}: two types of one name; rename one for the document"
        );
    }
}

fn collect(value: &Value, references: &mut Vec<String>) {
    match value {
        Value::Object(fields) => {
            references.extend(fields.get("$ref").and_then(Value::as_str).map(ToOwned::to_owned));
            fields.values().for_each(|value| collect(value, references));
        }
        Value::Array(values) => values.iter().for_each(|value| collect(value, references)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

#[tokio::test]
async fn the_server_serves_the_document() {
    let world = World::start().await;
    let (status, body) = world.ask("GET", "/v1/openapi.json", "").await;
    assert_eq!(status, 200);
    assert_eq!(serde_json::from_str::<Value>(&body).unwrap(), openapi());
}
