// What the geo commands share: positions, distances and units in arguments and replies.
import Base
import Engine
import RESP
import Storage

extension Call {
    /// The position whose longitude stands at `index`, or nil after an error reply.
    func positionOrReply(_ index: Int) -> GeoPosition? {
        guard let longitude = scoreOrReply(index), let latitude = scoreOrReply(index + 1) else {
            return nil
        }
        let position = GeoPosition(longitude: longitude, latitude: latitude)
        guard position.isInRange else {
            let (x, y) = (fixedText(longitude, digits: 6), fixedText(latitude, digits: 6))
            reply.error("ERR invalid longitude,latitude pair \(x),\(y)")
            return nil
        }
        return position
    }

    /// The meters of the unit at `index`, or nil after an error reply.
    func unitOrReply(_ index: Int) -> Double? {
        let word = self[index]
        if word.matches("m") { return 1 }
        if word.matches("km") { return 1000 }
        if word.matches("ft") { return 0.3048 }
        if word.matches("mi") { return 1609.34 }
        reply.error("ERR unsupported unit provided. please use M, KM, FT, MI")
        return nil
    }

    /// The set of positions of a key; nil inside when there is no key, nil after a refusal.
    func positionsOrReply(_ key: KeyRef) -> SortedSet?? {
        guard let entry = lookupRead(key) else { return .some(nil) }
        guard typeOrReply(entry, .sortedSet) != nil else { return nil }
        return SortedSet(entry)
    }
}

private func fixedText(_ value: Double, digits: Int) -> String {
    withUnsafeTemporaryAllocation(of: UInt8.self, capacity: fixedTextRoom) { room in
        guard let start = room.baseAddress else { return "" }
        return Bytes(start, writeFixed(value, digits: digits, to: start)).string
    }
}

extension ReplyWriter {
    /// A distance with four digits behind the point.
    func distance(_ value: Double) {
        // Rounded as a number of ten thousandths; what is too large for that is C's answer to it.
        let scaled = (value * 10_000).rounded(.toNearestOrEven)
        let units = Int64(exactly: scaled) ?? .min
        let whole = units.magnitude / 10_000
        let rest = String(units.magnitude % 10_000 + 10_000).dropFirst()
        bulk("\(units < 0 ? "-" : "")\(whole).\(rest)")
    }

    /// A position as an array of two numbers in fixed notation.
    func position(_ position: GeoPosition) {
        array(2)
        coordinate(position.longitude)
        coordinate(position.latitude)
    }

    private func coordinate(_ value: Double) {
        withUnsafeTemporaryAllocation(of: UInt8.self, capacity: fixedTextRoom) { room in
            guard let start = room.baseAddress else { return }
            var length = writeFixed(value, digits: 17, to: start)
            while start[length - 1] == UInt8(ascii: "0") { length -= 1 }
            if start[length - 1] == UInt8(ascii: ".") { length -= 1 }
            let text = Bytes(start, length) == "-0" ? Bytes("0") : Bytes(start, length)
            if version == 2 {
                bulk(text)
            } else {
                raw(",")
                raw(text)
                raw("\r\n")
            }
        }
    }
}
