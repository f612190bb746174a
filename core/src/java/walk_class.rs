//! The parts of the pull parser that know about classes: descriptors, and what objects of them have for data.

use super::store::{KnownLayouts, List, Store};
use super::table::{Class, Field, Kind, Layout, NONE, Span, is_suspect};
use super::token::{Frame, Role, Token, Walker, span};
use super::{JavaError, JavaErrorKind as E, code};

/// Superclasses one class may have: real ones have a dozen at most.
const HIERARCHY_MAX: u16 = 64;

impl<S: Store> Walker<S> {
    /// A class descriptor after its type code, up to the number of fields.
    pub(super) fn desc(&mut self, stream: &[u8], start: usize) -> Result<Token, JavaError> {
        self.deeper()?;
        let name = self.utf(stream)?;
        let uid = i64::from_be_bytes(self.array(stream)?);
        let class = self.table.classes.len() as u32;
        let handle = self.define(Kind::ClassDesc, start, self.pos, class)?;
        let [flags] = self.array(stream)?;
        let count = self.u16(stream)?;
        let contradictory = flags & (code::SERIALIZABLE | code::EXTERNALIZABLE)
            == code::SERIALIZABLE | code::EXTERNALIZABLE
            || flags & code::IS_ENUM != 0 && count > 0;
        if contradictory {
            return Err(E::BadDescriptor.at(start));
        }
        let class = self.add_class(handle, name, uid, flags, count)?;
        self.open_frame(Frame::DescFields { class, next: 0 })?;
        Ok(Token::Desc { handle, class })
    }

    pub(super) fn proxy_desc(&mut self, stream: &[u8], start: usize) -> Result<Token, JavaError> {
        self.deeper()?;
        let class = self.table.classes.len() as u32;
        let handle = self.define(Kind::ClassDesc, start, self.pos, class)?;
        let count = self.count(stream)?;
        let names = self.pos;
        for _ in 0..count {
            self.utf(stream)?;
        }
        let class = self.add_class(
            handle,
            span(names, self.pos - names),
            0,
            code::SERIALIZABLE,
            0,
        )?;
        if let Some(info) = self.table.classes.get_mut(class as usize) {
            info.proxy = true;
            info.interfaces = count as u32;
        }
        self.open_frame(Frame::DescAnnotation { class })?;
        Ok(Token::Desc { handle, class })
    }

    /// A new class, or the one that is already known by this handle.
    fn add_class(
        &mut self,
        handle: u32,
        name: Span,
        uid: i64,
        flags: u8,
        count: u16,
    ) -> Result<u32, JavaError> {
        let class = self.table.entry(handle).map_or(NONE, |entry| entry.class);
        if class as usize == self.table.classes.len() {
            let new = Class {
                name,
                uid,
                flags,
                proxy: false,
                interfaces: 0,
                complete: false,
                layout: Layout::Regular,
                fields: (self.table.fields.len() as u32, count),
                object_fields: 0,
                primitive_len: 0,
                superclass: NONE,
                hierarchy: 0,
                handle,
            };
            let added = self.table.classes.push(new);
            added.map_err(|_| E::TooManyObjects.at(self.pos))?;
        }
        Ok(class)
    }

    /// The fields of a descriptor from number `next` on, up to one that has a type string.
    pub(super) fn desc_fields(
        &mut self,
        stream: &[u8],
        class: u32,
        next: u16,
    ) -> Result<Option<Token>, JavaError> {
        let known = self.info(class)?;
        for number in next..known.fields.1 {
            let at = self.pos;
            let [code] = self.array(stream)?;
            let name = self.utf(stream)?;
            let width = match code {
                b'B' | b'Z' => 1,
                b'C' | b'S' => 2,
                b'F' | b'I' => 4,
                b'D' | b'J' => 8,
                b'L' | b'[' => 0,
                _ => return Err(E::BadDescriptor.at(at)),
            };
            if !known.complete {
                let Some(info) = self.table.classes.get_mut(class as usize) else {
                    continue;
                };
                match width {
                    0 => info.object_fields += 1,
                    _ if info.object_fields > 0 => return Err(E::BadDescriptor.at(at)),
                    _ => info.primitive_len += width,
                }
                let field = Field {
                    code,
                    name,
                    signature: self.next,
                };
                let added = self.table.fields.push(field);
                added.map_err(|_| E::TooManyObjects.at(at))?;
            }
            if width == 0 {
                self.open_frame(Frame::DescFields {
                    class,
                    next: number + 1,
                })?;
                let token = self.value(stream, Role::TypeString)?;
                if let (Token::Reference { handle, .. }, false) = (token, known.complete)
                    && let Some(field) = self.table.fields.last_mut()
                {
                    field.signature = handle;
                }
                return Ok(Some(token));
            }
        }
        self.open_frame(Frame::DescAnnotation { class })?;
        Ok(None)
    }

    /// A descriptor whose superclass has just been read.
    pub(super) fn desc_done(&mut self, stream: &[u8], class: u32) -> Result<Token, JavaError> {
        self.depth -= 1;
        let superclass = self.class;
        self.class = class;
        let known = self.info(class)?;
        if known.complete {
            return Ok(Token::DescEnd { class });
        }
        let hierarchy = match self.table.class(superclass) {
            None => 0,
            Some(above) if !above.complete => return Err(E::BadDescriptor.at(self.pos)),
            Some(above) => above.hierarchy + 1,
        };
        if hierarchy > HIERARCHY_MAX {
            return Err(E::TooDeep.at(self.pos));
        }
        let name = known.name.of(stream);
        let layout = if self.layouts.is_empty() {
            Layout::Regular
        } else {
            self.layouts.of(name)
        };
        if let Some(info) = self.table.classes.get_mut(class as usize) {
            info.complete = true;
            info.superclass = superclass;
            info.hierarchy = hierarchy;
            if info.flags & code::WRITE_METHOD != 0 {
                info.layout = layout;
            }
            self.suspicious |= is_suspect(info, name);
        }
        Ok(Token::DescEnd { class })
    }

    /// An object, array, enum constant or class object whose class has just been read.
    pub(super) fn opened(
        &mut self,
        stream: &[u8],
        kind: Kind,
        start: u32,
    ) -> Result<Token, JavaError> {
        let class = self.class;
        let info = self.info(class)?;
        if !info.complete {
            return Err(E::BadDescriptor.at(self.pos));
        }
        let handle = self.define(kind, start as usize, self.pos, class)?;
        self.open_frame(Frame::Close)?;
        match kind {
            Kind::Object => self.object_data(&info, class)?,
            Kind::Array => self.array_data(stream, &info)?,
            Kind::Enum => self.open_frame(Frame::EnumName)?,
            Kind::Class | Kind::String | Kind::ClassDesc => {}
        }
        Ok(Token::Body { handle, class })
    }

    /// The data of an object: class by class, the topmost superclass first.
    fn object_data(&mut self, info: &Class, class: u32) -> Result<(), JavaError> {
        if info.flags & code::EXTERNALIZABLE != 0 {
            if info.flags & code::EXTERNAL_BLOCK_DATA == 0 {
                return Err(E::UnknownExtent.at(self.pos));
            }
            self.open_frame(Frame::Annotation)?;
            return Ok(());
        }
        let (mut class, mut info) = (class, Some(*info));
        while let Some(level) = info {
            if level.has_data() {
                self.open_frame(match level.layout {
                    Layout::Regular => Frame::Primitives { class },
                    Layout::Late(items) => Frame::Late { class, left: items },
                    Layout::Absent => Frame::Annotation,
                })?;
            }
            class = level.superclass;
            info = self.table.class(class).copied();
        }
        Ok(())
    }

    fn array_data(&mut self, stream: &[u8], info: &Class) -> Result<(), JavaError> {
        let at = self.pos;
        let width = match info.name.of(stream) {
            _ if info.proxy => return Err(E::BadDescriptor.at(at)),
            [b'[', b'B' | b'Z', ..] => 1,
            [b'[', b'C' | b'S', ..] => 2,
            [b'[', b'F' | b'I', ..] => 4,
            [b'[', b'D' | b'J', ..] => 8,
            [b'[', b'L' | b'[', ..] => 0,
            _ => return Err(E::BadDescriptor.at(at)),
        };
        let count = self.count(stream)?;
        if count > self.limits.array_elements {
            return Err(E::ArrayTooLong.at(at));
        }
        let left = stream.len().saturating_sub(self.pos);
        if count > left || count.saturating_mul(width) > left {
            return Err(E::Truncated.at(stream.len()));
        }
        self.open_frame(match width {
            0 => Frame::Elements { left: count as u32 },
            _ => Frame::Raw {
                len: (count * width) as u32,
            },
        })?;
        Ok(())
    }

    pub(super) fn after_fields(&mut self, class: u32) -> Result<(), JavaError> {
        if self
            .table
            .class(class)
            .is_some_and(|info| info.flags & code::WRITE_METHOD != 0)
        {
            self.open_frame(Frame::Annotation)?;
        }
        Ok(())
    }
}
