//! The loader's framebuffer: for the one message that has no other way.

use bootloader_api::info::FrameBuffer;
use noto_sans_mono_bitmap::{FontWeight, RasterHeight, get_raster, get_raster_width};

const HEIGHT: RasterHeight = RasterHeight::Size16;
const WEIGHT: FontWeight = FontWeight::Regular;
/// Pixels around the text.
const MARGIN: usize = 16;

/// Shows a text of ASCII characters at the top of the screen, light on dark, as many lines as it takes.
pub(super) fn show(screen: &mut FrameBuffer, text: &str) {
    let info = screen.info();
    let (width, height) = (get_raster_width(WEIGHT, HEIGHT), HEIGHT.val());
    let columns = (info.width.saturating_sub(2 * MARGIN) / width).max(1);
    let buffer = screen.buffer_mut();
    buffer.fill(0);
    for (index, character) in text.chars().enumerate() {
        let (left, top) = (MARGIN + index % columns * width, MARGIN + index / columns * height);
        let Some(raster) = get_raster(character, WEIGHT, HEIGHT) else { continue };
        for (y, row) in raster.rows().enumerate() {
            for (x, &intensity) in row.iter().enumerate() {
                // All colours alike, whatever their order; what is beyond the end is left out.
                let at = ((top + y) * info.stride + left + x) * info.bytes_per_pixel;
                let visible = left + x < info.width && top + y < info.height;
                if let Some(pixel) = buffer.get_mut(at..at + info.bytes_per_pixel).filter(|_| visible) {
                    pixel.fill(intensity);
                }
            }
        }
    }
}
