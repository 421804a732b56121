//! The goods, and what a cart of them costs. Nothing is kept: a cart travels with its request, so that instances share
//! nothing and any of them can answer.

use serde::{Deserialize, Serialize};

/// Something for sale.
#[derive(Debug, Serialize)]
pub(crate) struct Good {
    /// How carts name it.
    pub(crate) id: &'static str,
    /// How people name it.
    pub(crate) name: &'static str,
    /// What it is for.
    pub(crate) about: &'static str,
    /// What one costs, in cents.
    pub(crate) cents: u64,
}

/// Everything for sale.
pub(crate) const GOODS: &[Good] = &[
    Good { id: "compass", name: "Brass compass", about: "Points north, whatever the crew believes.", cents: 8_900 },
    Good { id: "lantern", name: "Storm lantern", about: "Burns in any wind that leaves you standing.", cents: 4_250 },
    Good { id: "rope", name: "Hemp rope, 30 m", about: "Enough to tie up, or to climb down.", cents: 2_700 },
    Good { id: "logbook", name: "Deck log", about: "What happened, who ordered it, and why.", cents: 1_950 },
    Good { id: "sextant", name: "Sextant", about: "Says where you are once the clouds part.", cents: 24_900 },
    Good { id: "biscuit", name: "Ship's biscuit", about: "Older than the ship. Keeps.", cents: 350 },
];

/// What a customer wants. The largest cart has 50 lines of 99.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Cart {
    lines: Vec<Line>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    good: String,
    quantity: u64,
}

/// A cart with its price.
#[derive(Debug, Serialize, PartialEq)]
pub(crate) struct Priced {
    /// How many things are in it.
    pub(crate) items: u64,
    /// What it costs, in cents.
    pub(crate) total_cents: u64,
}

impl Cart {
    /// What it costs, or why it cannot be sold.
    pub(crate) fn price(&self) -> Result<Priced, String> {
        if self.lines.is_empty() || self.lines.len() > 50 {
            return Err(format!("a cart has 1 to 50 lines, this one has {}", self.lines.len()));
        }
        let mut priced = Priced { items: 0, total_cents: 0 };
        for Line { good, quantity } in &self.lines {
            let found = GOODS.iter().find(|g| g.id == good).ok_or_else(|| format!("there is no good `{good}`"))?;
            if !(1..=99).contains(quantity) {
                return Err(format!("a quantity is 1 to 99, `{good}` has {quantity}"));
            }
            priced.items += quantity;
            priced.total_cents += quantity * found.cents;
        }
        Ok(priced)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(cart: &str) -> Result<Priced, String> {
        serde_json::from_str::<Cart>(cart).unwrap().price()
    }

    #[test]
    fn a_cart_costs_the_sum_of_its_lines() {
        let cart = r#"{"lines": [{"good": "rope", "quantity": 2}, {"good": "biscuit", "quantity": 10}]}"#;
        assert_eq!(check(cart), Ok(Priced { items: 12, total_cents: 8_900 }));
    }

    #[test]
    fn a_cart_that_cannot_be_sold_says_why() {
        assert_eq!(check(r#"{"lines": []}"#).unwrap_err(), "a cart has 1 to 50 lines, this one has 0");
        assert_eq!(
            check(r#"{"lines": [{"good": "kraken", "quantity": 1}]}"#).unwrap_err(),
            "there is no good `kraken`"
        );
        let none = check(r#"{"lines": [{"good": "rope", "quantity": 0}]}"#).unwrap_err();
        assert_eq!(none, "a quantity is 1 to 99, `rope` has 0");
    }
}
