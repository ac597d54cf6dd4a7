// Whether bytes from outside are a listpack: every length within bounds, every element followed by
// its own size, the count and the total right. What passes here can be walked in both directions
// without any further check.
import Base

extension Listpack {
    /// True when `bytes` are a sound listpack.
    public static func isValid(_ bytes: Bytes) -> Bool { validCount(bytes) != nil }

    /// The number of elements when `bytes` are a sound listpack, else nil.
    public static func validCount(_ bytes: Bytes) -> Int? {
        guard bytes.count > headerSize, bytes.count <= Int(UInt32.max) else { return nil }
        let raw = UnsafeRawPointer(bytes.base)
        let total = Int(UInt32(littleEndian: raw.loadUnaligned(as: UInt32.self)))
        guard total == bytes.count, bytes.base[total - 1] == PackedElement.terminator else {
            return nil
        }
        var position = headerSize
        var count = 0
        while position < total - 1 {
            let room = total - 1 - position
            guard let size = PackedElement.validatedSize(bytes.base + position, room: room) else {
                return nil
            }
            position += size
            count += 1
        }
        invariant(position == total - 1, "an element reaches over the end")
        let said = Int(UInt16(littleEndian: raw.loadUnaligned(fromByteOffset: 4, as: UInt16.self)))
        return said == unknownCount || said == count ? count : nil
    }
}
