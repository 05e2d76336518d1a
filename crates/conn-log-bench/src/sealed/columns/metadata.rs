//! The metadata of a block: shapes, and a column for each of their values.

use std::collections::HashMap;

use anyhow::Context as _;

use super::bits::{In, Out};
use super::ints::{self, Ints};
use super::reals::{self, Reals};
use super::shapes::{self, Name, Slot};
use super::texts::{self, Column, number};

/// A shape of fewer events is not worth its columns.
const SHAPE_EVENTS_MIN: usize = 4;

const REALS: u8 = 0;
const TEXTS: u8 = 1;

/// One event's metadata, its session, and a number for its device.
pub(super) struct Metadata<'m> {
    pub(super) json: &'m str,
    pub(super) session: Option<&'m str>,
    pub(super) device: u32,
}

/// The texts of a column's values, each with the device.
type Given<'m> = Vec<(&'m str, u32)>;

pub(super) fn write(all: &[Metadata<'_>], out: &mut Out) {
    let mut split: Vec<_> = all.iter().map(|one| shapes::split(one.json, one.session)).collect();
    let mut events: HashMap<String, usize> = HashMap::new();
    for (shape, _) in split.iter().flatten() {
        *events.entry(shape.clone()).or_default() += 1;
    }
    for one in &mut split {
        if one.as_ref().is_some_and(|(shape, _)| events[shape] < SHAPE_EVENTS_MIN) {
            *one = None;
        }
    }
    let names = split.iter().map(|one| one.as_ref().map_or(shapes::WHOLE, |(shape, _)| shape));
    let codes = texts::write(names.map(Some), None, out);
    let whole = all.iter().zip(&split).filter(|(_, one)| one.is_none());
    texts::write(whole.map(|(one, _)| Some(one.json)), None, out);

    let (mut places, mut columns) = (HashMap::new(), Vec::<(Slot, Given<'_>)>::new());
    let mut slots_of: HashMap<u32, Vec<usize>> = HashMap::new();
    for ((one, split), code) in all.iter().zip(&split).zip(codes) {
        let Some((shape, values)) = split else { continue };
        let slots = slots_of.entry(code).or_insert_with(|| {
            let place = |name: Name<'_>| {
                *places.entry((name.0.to_owned(), name.1, name.2)).or_insert_with(|| {
                    columns.push((name.2, Vec::new()));
                    columns.len() - 1
                })
            };
            shapes::slots(shape).into_iter().map(place).collect()
        });
        for (value, column) in values.iter().zip(slots) {
            columns[*column].1.push((&one.json[value.clone()], one.device));
        }
    }
    for (slot, values) in columns {
        write_column(slot, &values, out);
    }
}

fn write_column(slot: Slot, values: &Given<'_>, out: &mut Out) {
    let write_texts = |out: &mut Out| {
        let devices: Vec<u32> = values.iter().map(|(_, device)| *device).collect();
        texts::write(values.iter().map(|(text, _)| Some(*text)), Some(&devices), out);
    };
    match slot {
        Slot::Session => {}
        Slot::Text => write_texts(out),
        Slot::Int => {
            let value = |(text, _): &(&str, u32)| text.parse().unwrap_or(0);
            ints::write(&values.iter().map(value).collect::<Vec<i64>>(), out);
        }
        Slot::Real => {
            let value = |(text, _): &(&str, u32)| real(text);
            match values.iter().map(value).collect::<Option<Vec<f64>>>() {
                Some(values) => {
                    out.soft.push(REALS);
                    reals::write(&values, out);
                }
                None => {
                    out.soft.push(TEXTS);
                    write_texts(out);
                }
            }
        }
    }
}

/// The number of a text, if it is written in that way.
fn real(text: &str) -> Option<f64> {
    let value: f64 = text.parse().ok().filter(|value: &f64| value.is_finite())?;
    (ryu_js::Buffer::new().format(value) == text).then_some(value)
}

enum Values<'a> {
    Session,
    Texts(Column<'a>),
    Ints(Ints<'a>),
    Reals(Reals<'a>),
}

/// The metadata of a block that is read.
pub(super) struct Columns<'a> {
    codes: Vec<u32>,
    shapes: Vec<Shape>,
    whole: Column<'a>,
    columns: Vec<Values<'a>>,
    /// For each event the place of its first value among `places`.
    first: Vec<u32>,
    /// For each value of each event its place in its column. Metadata that is not split is one value.
    places: Vec<u32>,
}

struct Shape {
    /// `None` for metadata that is not split into columns.
    json: Option<String>,
    columns: Vec<u32>,
}

impl<'a> Columns<'a> {
    pub(super) fn read(devices: &[u32], from: &mut In<'a>) -> anyhow::Result<Self> {
        let count = devices.len();
        let names = Column::read(count, None, from)?;
        let texts: Vec<String> = (0..names.texts.len()).map(|at| names.texts.get(at)).collect();
        let (slots, shapes) = columns_of(&texts);

        let whole_count = names.codes.iter().filter(|code| shapes[**code as usize].json.is_none());
        let whole = Column::read(whole_count.count(), None, from)?;

        let (mut first, mut places) = (Vec::with_capacity(count), Vec::new());
        let (mut sizes, mut whole_size) = (vec![0; slots.len()], 0);
        let mut of_devices: Vec<Vec<u32>> = vec![Vec::new(); slots.len()];
        for (code, device) in names.codes.iter().zip(devices) {
            let shape = shapes.get(*code as usize).context("no such shape")?;
            first.push(u32::try_from(places.len())?);
            if shape.json.is_none() {
                places.push(whole_size);
                whole_size += 1;
            }
            for column in &shape.columns {
                let column = *column as usize;
                places.push(sizes[column]);
                sizes[column] += 1;
                if slots[column] != Slot::Session {
                    of_devices[column].push(*device);
                }
            }
        }
        let read = |(slot, devices): (&Slot, &Vec<u32>)| read_column(*slot, devices, from);
        let columns = slots.iter().zip(&of_devices).map(read).collect::<Result<_, _>>()?;
        Ok(Columns { codes: names.codes, shapes, whole, columns, first, places })
    }

    pub(super) fn append(&self, place: usize, session: Option<&str>, out: &mut String) {
        let shape = &self.shapes[self.codes[place] as usize];
        let places = &self.places[self.first[place] as usize..];
        let Some(json) = &shape.json else {
            return self.whole.append(places[0] as usize, out);
        };
        let value = |slot: usize, out: &mut String| {
            let place = places[slot] as usize;
            match &self.columns[shape.columns[slot] as usize] {
                Values::Session => out.push_str(session.unwrap_or_default()),
                Values::Texts(texts) => texts.append(place, out),
                Values::Ints(ints) => {
                    out.push_str(itoa::Buffer::new().format(ints.get(place)));
                }
                Values::Reals(reals) => {
                    out.push_str(ryu_js::Buffer::new().format(reals.get(place)));
                }
            }
        };
        shapes::fill(json, value, out);
    }

    /// The places of events whose member of that name may be that text, without making their JSON.
    /// Metadata that stays whole may have anything.
    pub(super) fn may_have(&self, name: &str, text: &str) -> Vec<usize> {
        let mut found: Vec<Option<u32>> = vec![None; self.columns.len()];
        let mut known = vec![false; self.columns.len()];
        let has = |place: &usize| {
            let shape = &self.shapes[self.codes[*place] as usize];
            let Some(json) = &shape.json else { return true };
            if !json.contains(name) {
                return false;
            }
            let places = &self.places[self.first[*place] as usize..];
            shape.columns.iter().zip(places).any(|(column, place)| {
                let column = *column as usize;
                let Values::Texts(texts) = &self.columns[column] else { return false };
                if !known[column] {
                    found[column] = texts.code_of(text);
                    known[column] = true;
                }
                found[column].is_some_and(|code| texts.codes[*place as usize] == code)
            })
        };
        (0..self.codes.len()).filter(has).collect()
    }
}

/// The kinds of the columns of shapes, and each shape with its columns.
fn columns_of(texts: &[String]) -> (Vec<Slot>, Vec<Shape>) {
    let mut names: Vec<Vec<Name<'_>>> = Vec::new();
    for text in texts {
        names.push(if text == shapes::WHOLE { Vec::new() } else { shapes::slots(text) });
    }
    let (codes, distinct) = number(names.iter().flatten().copied());
    let mut codes = codes.into_iter();
    let shape = |(text, names): (&String, &Vec<Name<'_>>)| Shape {
        json: (text != shapes::WHOLE).then(|| text.clone()),
        columns: codes.by_ref().take(names.len()).collect(),
    };
    let shapes = texts.iter().zip(&names).map(shape).collect();
    (distinct.into_iter().map(|(_, _, slot)| slot).collect(), shapes)
}

fn read_column<'a>(slot: Slot, devices: &[u32], from: &mut In<'a>) -> anyhow::Result<Values<'a>> {
    let count = devices.len();
    Ok(match slot {
        Slot::Session => Values::Session,
        Slot::Text => Values::Texts(Column::read(count, Some(devices), from)?),
        Slot::Int => Values::Ints(Ints::read(count, from)?),
        Slot::Real => match from.bytes(1)?[0] {
            REALS => Values::Reals(Reals::read(count, from)?),
            _ => Values::Texts(Column::read(count, Some(devices), from)?),
        },
    })
}
