//! The format `slack`: an incoming message of Slack, which others take as well.
//!
//! Texts of clients are escaped where Slack reads markup, and stand in blocks of type `plain_text`,
//! where it reads none: a device named `<!channel>` calls nobody.

use serde_json::{Value, json};

use super::{Message, plain, shortened};

/// Slack's limits of a header and of the text of a field.
const HEADER_CHARS_MAX: usize = 150;
const FIELD_CHARS_MAX: usize = 2_000;

/// Slack's limit of fields in a section.
const FIELDS_MAX: usize = 10;

pub(super) fn body(message: &Message<'_>) -> String {
    let summary = message.summary();
    let mut fields = vec![
        field("Severity", &message.text("severity")),
        field("State", &message.text("state")),
        field("Events", &message.text("count")),
        field("Started", &message.started_at().to_string()),
    ];
    fields.extend(message.group().iter().map(|(name, value)| field(name, value)));
    fields.truncate(FIELDS_MAX);
    let mut blocks = vec![
        json!({"type": "header", "text": text(&shortened(&summary, HEADER_CHARS_MAX))}),
        json!({"type": "section", "fields": fields}),
    ];
    let explanation = plain(&message.text("explanation"));
    if !explanation.is_empty() {
        blocks.push(json!({"type": "section", "text": text(&explanation)}));
    }
    json!({"text": escaped(&summary), "blocks": blocks}).to_string()
}

fn field(name: &str, value: &str) -> Value {
    text(&shortened(&plain(&format!("{name}: {value}")), FIELD_CHARS_MAX))
}

fn text(text: &str) -> Value {
    json!({"type": "plain_text", "text": text, "emoji": false})
}

/// Slack's markup begins with these three characters only.
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::super::example;
    use super::*;

    #[test]
    fn texts_of_clients_are_no_markup() {
        let body: Value = serde_json::from_str(&body(&example("opened"))).unwrap();
        let text = body["text"].as_str().unwrap();
        assert!(
            text.starts_with("[critical] alert opened: Failures &lt;!channel&gt; &amp;"),
            "{text}"
        );
        assert!(!text.contains('<') && !text.contains('\n'));
        for block in body["blocks"].as_array().unwrap() {
            let texts = block["fields"].as_array().cloned().unwrap_or_default();
            for text in texts.iter().chain(block.get("text")) {
                assert_eq!(text["type"], "plain_text");
                assert!(!text["text"].as_str().unwrap().contains('\n'));
            }
        }
    }

    #[test]
    fn a_message_is_within_slacks_limits() {
        let mut message = example("opened");
        message.alert["rule_name"] = "x".repeat(5_000).into();
        message.alert["explanation"] = "x".repeat(5_000).into();
        for n in 0..20 {
            message.alert["group"][format!("metadata.{n}")] = "y".repeat(5_000).into();
        }
        let body: Value = serde_json::from_str(&body(&message)).unwrap();
        assert_eq!(body["blocks"][0]["text"]["text"].as_str().unwrap().chars().count(), 150);
        assert_eq!(body["blocks"][1]["fields"].as_array().unwrap().len(), 10);
        assert!(body["blocks"][2]["text"]["text"].as_str().unwrap().chars().count() <= 3_000);
    }
}
