// The circle or box that is searched, and the cells that cover it: the cell of the centre, of a
// size that fits the shape, and those of its eight neighbours that the shape reaches into.
import Base

struct GeoShape {
    enum Form {
        case circle(radius: Double)
        case box(width: Double, height: Double)
    }
    var center: GeoPosition
    /// In units of `unit`.
    var form: Form
    /// Meters in the unit that lengths were given in.
    var unit: Double

    /// How far a position is from the centre, in meters; nil when it lies outside of the shape.
    func distance(of position: GeoPosition) -> Double? {
        switch form {
        case .circle(let radius):
            let distance = center.distance(to: position)
            return distance > radius * unit ? nil : distance
        case .box(let width, let height):
            let north = GeoPosition.distance(
                latitude: position.latitude, to: center.latitude)
            if north > height * unit / 2 { return nil }
            let level = GeoPosition(longitude: center.longitude, latitude: position.latitude)
            if position.distance(to: level) > width * unit / 2 { return nil }
            return center.distance(to: position)
        }
    }

    // MARK: Cells

    /// The rectangle of degrees around the shape.
    private var bounds: GeoArea {
        let height: Double
        let width: Double
        switch form {
        case .circle(let radius):
            height = unit * radius
            width = unit * radius
        case .box(let boxWidth, let boxHeight):
            height = unit * (boxHeight / 2)
            width = unit * (boxWidth / 2)
        }
        let latitude = GeoPosition.degrees(height / GeoPosition.earthRadius)
        // Meridians come together towards the poles: the edge nearer to one is the longer in
        // degrees.
        let edge = center.latitude < 0 ? center.latitude - latitude : center.latitude + latitude
        let longitude = GeoPosition.degrees(
            width / GeoPosition.earthRadius / cosine(GeoPosition.radians(edge)))
        return GeoArea(
            longitude: GeoInterval(
                min: center.longitude - longitude, max: center.longitude + longitude),
            latitude: GeoInterval(
                min: center.latitude - latitude, max: center.latitude + latitude))
    }

    /// The distance of the farthest point of the shape, in meters.
    private var reach: Double {
        switch form {
        case .circle(let radius): radius * unit
        case .box(let width, let height):
            ((width / 2) * (width / 2) + (height / 2) * (height / 2)).squareRoot() * unit
        }
    }

    private static let mercatorLimit = 20037726.37

    /// How many halvings give cells that are not smaller than the shape.
    private var estimatedStep: Int {
        var range = reach
        if range == 0 { return GeoHash.maxStep }
        var step = 1
        while range < GeoShape.mercatorLimit {
            range *= 2
            step += 1
        }
        step -= 2
        let latitude = center.latitude.magnitude
        if latitude > 66 {
            step -= 1
            if latitude > 80 { step -= 1 }
        }
        return min(max(step, 1), GeoHash.maxStep)
    }

    /// The cells to search, the centre's first; no cell follows itself.
    var cells: [GeoHash] {
        let bounds = self.bounds
        var step = estimatedStep
        var middle = GeoHash(center, step: step)
        if step > 1, !GeoShape.neighboursCover(middle, bounds) {
            step -= 1
            middle = GeoHash(center, step: step)
        }
        var found = [middle]
        for (east, north) in GeoShape.directions
        where step < 2 || GeoShape.isNeeded(middle.area, bounds, east: east, north: north) {
            let cell = middle.moved(east: east, north: north)
            if found.count > 1, found[found.count - 1] == cell { continue }
            found.append(cell)
        }
        return found
    }

    /// In the order in which the reference searches them, which shows in unsorted results.
    private static let directions = [
        (0, 1), (0, -1), (1, 0), (-1, 0), (1, 1), (-1, 1), (1, -1), (-1, -1),
    ]

    private static func neighboursCover(_ middle: GeoHash, _ bounds: GeoArea) -> Bool {
        func area(_ east: Int, _ north: Int) -> GeoArea {
            middle.moved(east: east, north: north).area
        }
        return !(area(0, 1).latitude.max < bounds.latitude.max
            || area(0, -1).latitude.min > bounds.latitude.min
            || area(1, 0).longitude.max < bounds.longitude.max
            || area(-1, 0).longitude.min > bounds.longitude.min)
    }

    /// False for neighbours in a direction in which the middle cell reaches beyond the shape.
    private static func isNeeded(
        _ middle: GeoArea, _ bounds: GeoArea, east: Int, north: Int
    ) -> Bool {
        if north < 0, middle.latitude.min < bounds.latitude.min { return false }
        if north > 0, middle.latitude.max > bounds.latitude.max { return false }
        if east < 0, middle.longitude.min < bounds.longitude.min { return false }
        return !(east > 0 && middle.longitude.max > bounds.longitude.max)
    }
}
