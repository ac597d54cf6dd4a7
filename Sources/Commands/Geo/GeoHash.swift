// Positions as 52-bit numbers: longitude and latitude are divided in halves, 26 times each, and the
// bits interleaved, so that what is near often shares a prefix. All arithmetic is in the order of
// the reference's, because results are compared to the last digit.
import Base

/// Degrees east and north.
struct GeoPosition {
    var longitude: Double
    var latitude: Double

    static let longitudes = GeoInterval(min: -180, max: 180)
    /// Of the Mercator projection; the poles have no place.
    static let latitudes = GeoInterval(min: -85.05112878, max: 85.05112878)

    var isInRange: Bool {
        longitude >= GeoPosition.longitudes.min && longitude <= GeoPosition.longitudes.max
            && latitude >= GeoPosition.latitudes.min && latitude <= GeoPosition.latitudes.max
    }

    /// Of a member with this score.
    init(score: Double) {
        self = GeoHash(bits: GeoPosition.bits(score), step: GeoHash.maxStep).area.center
    }

    init(longitude: Double, latitude: Double) {
        self.longitude = longitude
        self.latitude = latitude
    }

    /// The score as C converts it to an unsigned number, whatever it is.
    private static func bits(_ score: Double) -> UInt64 {
        if let signed = Int64(exactly: score.rounded(.towardZero)) {
            return UInt64(bitPattern: signed)
        }
        if let unsigned = UInt64(exactly: score.rounded(.towardZero)) { return unsigned }
        return score > 0 ? 0 : 1 &<< 63
    }

    /// The score of a member at this position.
    var score: Int64 {
        let hash = GeoHash(self, step: GeoHash.maxStep)
        return Int64(truncatingIfNeeded: hash.firstScore)
    }

    // MARK: Distances

    static let earthRadius = 6372797.560856
    private static let degree = Double.pi / 180.0

    static func radians(_ degrees: Double) -> Double { degrees * degree }
    static func degrees(_ radians: Double) -> Double { radians / degree }

    /// Meters between two latitudes on one meridian.
    static func distance(latitude a: Double, to b: Double) -> Double {
        earthRadius * (radians(b) - radians(a)).magnitude
    }

    /// Meters to another position, by the haversine formula.
    func distance(to other: GeoPosition) -> Double {
        let v = sine(
            (GeoPosition.radians(other.longitude) - GeoPosition.radians(longitude)) / 2)
        if v == 0 { return GeoPosition.distance(latitude: latitude, to: other.latitude) }
        let mine = GeoPosition.radians(latitude)
        let theirs = GeoPosition.radians(other.latitude)
        let u = sine((theirs - mine) / 2)
        let a = u * u + cosine(mine) * cosine(theirs) * v * v
        return 2.0 * GeoPosition.earthRadius * arcsine(a.squareRoot())
    }
}

struct GeoInterval {
    var min: Double
    var max: Double
}

/// A rectangle of degrees.
struct GeoArea {
    var longitude: GeoInterval
    var latitude: GeoInterval

    var center: GeoPosition {
        let longitudes = GeoPosition.longitudes
        let latitudes = GeoPosition.latitudes
        let x = (longitude.min + longitude.max) / 2
        let y = (latitude.min + latitude.max) / 2
        return GeoPosition(
            longitude: Swift.max(Swift.min(x, longitudes.max), longitudes.min),
            latitude: Swift.max(Swift.min(y, latitudes.max), latitudes.min))
    }
}

/// The cell that so many halvings lead to.
struct GeoHash: Equatable {
    var bits: UInt64
    /// Halvings of each axis.
    var step: Int

    static let maxStep = 26

    init(bits: UInt64, step: Int) {
        self.bits = bits
        self.step = step
    }

    /// The cell of a position in the given ranges of degrees.
    init(
        _ position: GeoPosition, step: Int,
        longitudes: GeoInterval = GeoPosition.longitudes,
        latitudes: GeoInterval = GeoPosition.latitudes
    ) {
        invariant(step > 0 && step <= GeoHash.maxStep, "a cell of no possible size")
        invariant(position.isInRange, "a position off the map")
        let cells = Double(1 &<< step)
        var y = (position.latitude - latitudes.min) / (latitudes.max - latitudes.min)
        var x = (position.longitude - longitudes.min) / (longitudes.max - longitudes.min)
        y *= cells
        x *= cells
        let latitude = GeoHash.spread(UInt64(y) & 0xFFFF_FFFF)
        let longitude = GeoHash.spread(UInt64(x) & 0xFFFF_FFFF)
        self.init(bits: latitude | (longitude &<< 1), step: step)
    }

    /// The 32 low bits moved to the even places.
    private static func spread(_ value: UInt64) -> UInt64 {
        var x = value
        x = (x | (x &<< 16)) & 0x0000_FFFF_0000_FFFF
        x = (x | (x &<< 8)) & 0x00FF_00FF_00FF_00FF
        x = (x | (x &<< 4)) & 0x0F0F_0F0F_0F0F_0F0F
        x = (x | (x &<< 2)) & 0x3333_3333_3333_3333
        return (x | (x &<< 1)) & 0x5555_5555_5555_5555
    }

    /// The even places moved to the 32 low bits.
    private static func gather(_ value: UInt64) -> UInt32 {
        var x = value & 0x5555_5555_5555_5555
        x = (x | (x &>> 1)) & 0x3333_3333_3333_3333
        x = (x | (x &>> 2)) & 0x0F0F_0F0F_0F0F_0F0F
        x = (x | (x &>> 4)) & 0x00FF_00FF_00FF_00FF
        x = (x | (x &>> 8)) & 0x0000_FFFF_0000_FFFF
        return UInt32(truncatingIfNeeded: x | (x &>> 16))
    }

    /// The rectangle of the cell.
    var area: GeoArea {
        let row = GeoHash.gather(bits)
        let column = GeoHash.gather(bits &>> 1)
        let cells = Double(1 &<< step)
        func interval(_ index: UInt32, _ range: GeoInterval) -> GeoInterval {
            let scale = range.max - range.min
            return GeoInterval(
                min: range.min + (Double(index) / cells) * scale,
                max: range.min + (Double(index &+ 1) / cells) * scale)
        }
        return GeoArea(
            longitude: interval(column, GeoPosition.longitudes),
            latitude: interval(row, GeoPosition.latitudes))
    }

    // MARK: Scores

    /// The lowest score in the cell.
    var firstScore: UInt64 { bits &<< UInt64(52 - step * 2) }

    /// The lowest score behind the cell.
    var endScore: UInt64 { (bits &+ 1) &<< UInt64(52 - step * 2) }

    // MARK: Neighbours

    private static let columnBits: UInt64 = 0xAAAA_AAAA_AAAA_AAAA
    private static let rowBits: UInt64 = 0x5555_5555_5555_5555

    /// The cell so many columns to the east and rows to the north (-1, 0 or 1); the map's edges
    /// meet. An axis that is not moved along is left as it is, even when the position on the very
    /// edge of the map has one bit too many.
    func moved(east: Int, north: Int) -> GeoHash {
        let unused = UInt64(64 - step * 2)
        let columns = GeoHash.columnBits
        let rows = GeoHash.rowBits
        let column = GeoHash.stepped(bits & columns, columns &>> unused, rows &>> unused, east)
        let row = GeoHash.stepped(bits & rows, rows &>> unused, columns &>> unused, north)
        return GeoHash(bits: column | row, step: step)
    }

    /// One up or down in every second bit, within `own`; `gaps` has the bits between.
    private static func stepped(
        _ value: UInt64, _ own: UInt64, _ gaps: UInt64, _ direction: Int
    ) -> UInt64 {
        invariant(direction >= -1 && direction <= 1, "neighbours touch")
        if direction == 0 { return value }
        return own & (direction > 0 ? value &+ (gaps &+ 1) : (value | gaps) &- (gaps &+ 1))
    }

    // MARK: Text

    /// Eleven letters of the common notation, for a hash over the whole globe.
    func text(to out: UnsafeMutablePointer<UInt8>) -> Int {
        let alphabet = Bytes("0123456789bcdefghjkmnpqrstuvwxyz")
        for index in 0..<10 {
            let shift = UInt64(52 - (index + 1) * 5)
            out[index] = alphabet[Int((bits &>> shift) & 0x1F)]
        }
        // There are bits for ten letters only.
        out[10] = alphabet[0]
        return 11
    }
}
