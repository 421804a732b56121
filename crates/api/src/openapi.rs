//! The OpenAPI 3.1 document, made from the endpoints' own definitions.

use crate::{
    Problem, VERSION,
    endpoint::{Endpoint, Method, Needs},
    endpoints,
};
use schemars::{SchemaGenerator, generate::SchemaSettings};
use serde_json::{Map, Value, json};

/// The OpenAPI document of this API. The same on every call; a copy is kept in `docs/reference/openapi.json`.
pub fn openapi() -> Value {
    let settings = SchemaSettings::draft2020_12().with(|settings| {
        settings.definitions_path = "/components/schemas".into();
        settings.meta_schema = None;
    });
    let mut generator = settings.into_generator();
    let problem = generator.subschema_for::<Problem>();
    let mut paths = Map::new();
    for endpoint in endpoints::all() {
        let method = match endpoint.method {
            Method::Get => "get",
            Method::Post => "post",
            Method::Put => "put",
        };
        let path = paths.entry(endpoint.path).or_insert_with(|| json!({}));
        path[method] = operation(&endpoint, &mut generator);
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Quarterdeck",
            "version": VERSION,
            "description": "Run, change and explain what is in production. Over the Unix socket the operating-system user is who you are; over TCP the token is.",
            "license": { "name": "Apache-2.0", "identifier": "Apache-2.0" }
        },
        "servers": [{ "url": "http://localhost", "description": "The Unix socket in the data directory, or loopback TCP." }],
        "security": [{}, { "token": [] }],
        "paths": paths,
        "components": {
            "securitySchemes": { "token": { "type": "http", "scheme": "bearer" } },
            "responses": {
                "Problem": {
                    "description": "A refusal or an error.",
                    "content": { "application/json": { "schema": problem } }
                }
            },
            "schemas": generator.take_definitions(false)
        }
    })
}

fn operation(endpoint: &Endpoint, generator: &mut SchemaGenerator) -> Value {
    let description = (endpoint.describe)(generator);
    let mut parameters = parameters("path", &description.path);
    parameters.extend(self::parameters("query", &description.query));
    let needs = match endpoint.needs {
        Needs::Act(act) => format!("Needs the right to {}.", act.verb()),
        Needs::Identity => "Needs no particular right; a command needs the right to what it does.".to_owned(),
    };
    let (media, schema) = description.answer;
    let mut operation = json!({
        "operationId": endpoint.name,
        "summary": endpoint.summary,
        "description": needs,
        "parameters": parameters,
        "responses": {
            "200": { "description": "Done.", "content": { media: { "schema": schema } } },
            "default": { "$ref": "#/components/responses/Problem" }
        }
    });
    if let Some((media, schema)) = description.body {
        operation["requestBody"] = json!({ "required": true, "content": { media: { "schema": schema } } });
    }
    operation
}

/// The properties of a schema as parameters.
fn parameters(place: &str, schema: &Value) -> Vec<Value> {
    let required = |name: &str| {
        place == "path" || schema["required"].as_array().is_some_and(|names| names.iter().any(|n| n == name))
    };
    let properties = schema["properties"].as_object().into_iter().flatten();
    properties
        .map(|(name, schema)| {
            let mut schema = schema.clone();
            let description = schema.as_object_mut().and_then(|fields| fields.remove("description"));
            let mut parameter = json!({ "name": name, "in": place, "required": required(name), "schema": schema });
            if let Some(description) = description {
                parameter["description"] = description;
            }
            parameter
        })
        .collect()
}
