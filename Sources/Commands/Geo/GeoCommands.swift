// The geo group: positions are members of sorted sets whose scores say where they are.
import Engine

extension Extension {
    /// GEOADD and everything else about positions.
    public static let geo = Extension("geo") { registry in
        registry.group = .geo
        registry.registerGeoMemberCommands()
        registry.registerGeoSearchCommands()
    }
}
