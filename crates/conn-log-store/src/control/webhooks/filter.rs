//! The alerts that a webhook is told of.

use serde_json::Value;

use crate::control::alerts::changes::scalar_text;

/// A filter of alerts: each member that is not empty has to match.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct AlertFilter {
    /// Ids of rules, as they stand in JSON.
    pub rule_ids: Vec<Value>,
    /// Kinds of rules.
    pub kinds: Vec<String>,
    /// Severities.
    pub severities: Vec<String>,
}

impl AlertFilter {
    /// Whether an alert passes.
    pub fn matches(&self, alert: &Value) -> bool {
        let rule = scalar_text(&alert["rule_id"]);
        let is_one_of = |known: &[String], name: &str| {
            known.is_empty() || known.iter().any(|known| alert[name] == known.as_str())
        };
        (self.rule_ids.is_empty() || self.rule_ids.iter().any(|id| scalar_text(id) == rule))
            && is_one_of(&self.kinds, "kind")
            && is_one_of(&self.severities, "severity")
    }

    /// The filter as JSON, without its empty members.
    pub fn to_json(&self) -> Value {
        let mut members = serde_json::Map::new();
        let texts = |texts: &[String]| texts.iter().cloned().map(Value::from).collect();
        let given: [(&str, Vec<Value>); 3] = [
            ("rule_id", self.rule_ids.clone()),
            ("kind", texts(&self.kinds)),
            ("severity", texts(&self.severities)),
        ];
        for (name, values) in given {
            if !values.is_empty() {
                members.insert(name.to_owned(), values.into());
            }
        }
        Value::Object(members)
    }

    /// The filter of the table's JSON.
    pub(crate) fn of_json(json: &Value) -> Self {
        let values = |name: &str| json[name].as_array().cloned().unwrap_or_default();
        let texts = |name| values(name).iter().map(scalar_text).collect();
        AlertFilter {
            rule_ids: values("rule_id"),
            kinds: texts("kind"),
            severities: texts("severity"),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn every_member_that_is_given_has_to_match() {
        let alert = json!({"rule_id": 3, "kind": "match", "severity": "critical"});
        for (filter, passes) in [
            (json!({}), true),
            (json!({"rule_id": [2, 3]}), true),
            (json!({"rule_id": ["3"]}), true),
            (json!({"rule_id": [2]}), false),
            (json!({"kind": ["match"], "severity": ["warning", "critical"]}), true),
            (json!({"kind": ["match"], "severity": ["warning"]}), false),
            (json!({"kind": ["silence"]}), false),
        ] {
            let read = AlertFilter::of_json(&filter);
            assert_eq!(read.to_json(), filter);
            assert_eq!(read.matches(&alert), passes, "{filter}");
        }
    }
}
