//! Class descriptors as real streams have them: Java 17 and Tomcat 10.1.60.

/// A class descriptor known from the start.
#[derive(Debug)]
pub(crate) struct Known {
    pub(crate) name: &'static str,
    pub(crate) uid: i64,
    pub(crate) flags: u8,
    /// Names and type signatures, in the order of the stream.
    pub(crate) fields: &'static [(&'static str, &'static str)],
    /// The nearest serializable superclass, or nothing.
    pub(crate) superclass: &'static str,
}

/// The descriptor of the class `name`.
pub(crate) fn known(name: &[u8]) -> Option<&'static Known> {
    let at = CATALOGUE
        .binary_search_by(|known| known.name.as_bytes().cmp(name))
        .ok()?;
    CATALOGUE.get(at)
}

const fn class(
    name: &'static str,
    uid: i64,
    flags: u8,
    fields: &'static [(&'static str, &'static str)],
    superclass: &'static str,
) -> Known {
    Known {
        name,
        uid,
        flags,
        fields,
        superclass,
    }
}

/// Sorted by name.
#[rustfmt::skip]
static CATALOGUE: &[Known] = &[
    class("[B", -5984413125824719648, 0x02, &[], ""),
    class("[C", -5753798564021173076, 0x02, &[], ""),
    class("[D", 4514449696888150558, 0x02, &[], ""),
    class("[F", 836686056779680834, 0x02, &[], ""),
    class("[I", 5600894804908749477, 0x02, &[], ""),
    class("[J", 8655923659555304851, 0x02, &[], ""),
    class("[Ljava.lang.Enum;", -6301122823757615208, 0x02, &[], ""),
    class("[Ljava.lang.Object;", -8012369246846506644, 0x02, &[], ""),
    class("[Ljava.lang.StackTraceElement;", 163864874655228473, 0x02, &[], ""),
    class("[Ljava.lang.String;", -5921575005990323385, 0x02, &[], ""),
    class("[Ljava.util.concurrent.ConcurrentHashMap$Segment;", 5942287782593116532, 0x02, &[], ""),
    class("[Lorg.apache.catalina.tribes.Member;", 6828688949895838012, 0x02, &[], ""),
    class("[S", -1188055269542874886, 0x02, &[], ""),
    class("[Z", 6309297032502205922, 0x02, &[], ""),
    class("[[I", 1727100010502261052, 0x02, &[], ""),
    class("jakarta.servlet.http.Cookie", 2, 0x02, &[
        ("attributes", "Ljava/util/Map;"), ("name", "Ljava/lang/String;"), ("value", "Ljava/lang/String;"),
    ], ""),
    class("java.lang.Boolean", -3665804199014368530, 0x02, &[("value", "Z")], ""),
    class("java.lang.Byte", -7183698231559129828, 0x02, &[("value", "B")], "java.lang.Number"),
    class("java.lang.Character", 3786198910865385080, 0x02, &[("value", "C")], ""),
    class("java.lang.Double", -9172774392245257468, 0x02, &[("value", "D")], "java.lang.Number"),
    class("java.lang.Enum", 0, 0x12, &[], ""),
    class("java.lang.Exception", -3387516993124229948, 0x02, &[], "java.lang.Throwable"),
    class("java.lang.Float", -2671257302660747028, 0x02, &[("value", "F")], "java.lang.Number"),
    class("java.lang.IllegalStateException", -1848914673093119416, 0x02, &[], "java.lang.RuntimeException"),
    class("java.lang.Integer", 1360826667806852920, 0x02, &[("value", "I")], "java.lang.Number"),
    class("java.lang.Long", 4290774380558885855, 0x02, &[("value", "J")], "java.lang.Number"),
    class("java.lang.Number", -8742448824652078965, 0x02, &[], ""),
    class("java.lang.Runnable", 0, 0x00, &[], ""),
    class("java.lang.RuntimeException", -7034897190745766939, 0x02, &[], "java.lang.Exception"),
    class("java.lang.Short", 7515723908773894738, 0x02, &[("value", "S")], "java.lang.Number"),
    class("java.lang.StackTraceElement", 6992337162326171013, 0x02, &[
        ("format", "B"), ("lineNumber", "I"), ("classLoaderName", "Ljava/lang/String;"),
        ("declaringClass", "Ljava/lang/String;"), ("fileName", "Ljava/lang/String;"),
        ("methodName", "Ljava/lang/String;"), ("moduleName", "Ljava/lang/String;"),
        ("moduleVersion", "Ljava/lang/String;"),
    ], ""),
    class("java.lang.String", -6849794470754667710, 0x02, &[], ""),
    class("java.lang.StringBuilder", 4383685877147921099, 0x03, &[], ""),
    class("java.lang.Throwable", -3042686055658047285, 0x03, &[
        ("cause", "Ljava/lang/Throwable;"), ("detailMessage", "Ljava/lang/String;"),
        ("stackTrace", "[Ljava/lang/StackTraceElement;"), ("suppressedExceptions", "Ljava/util/List;"),
    ], ""),
    class("java.lang.invoke.SerializedLambda", 8025925345765570181, 0x02, &[
        ("implMethodKind", "I"), ("capturedArgs", "[Ljava/lang/Object;"), ("capturingClass", "Ljava/lang/Class;"),
        ("functionalInterfaceClass", "Ljava/lang/String;"), ("functionalInterfaceMethodName", "Ljava/lang/String;"),
        ("functionalInterfaceMethodSignature", "Ljava/lang/String;"), ("implClass", "Ljava/lang/String;"),
        ("implMethodName", "Ljava/lang/String;"), ("implMethodSignature", "Ljava/lang/String;"),
        ("instantiatedMethodType", "Ljava/lang/String;"),
    ], ""),
    class("java.lang.reflect.Proxy", -2222568056686623797, 0x02, &[
        ("h", "Ljava/lang/reflect/InvocationHandler;"),
    ], ""),
    class("java.math.BigDecimal", 6108874887143696463, 0x03, &[
        ("scale", "I"), ("intVal", "Ljava/math/BigInteger;"),
    ], "java.lang.Number"),
    class("java.math.BigInteger", -8287574255936472291, 0x03, &[
        ("bitCount", "I"), ("bitLength", "I"), ("firstNonzeroByteNum", "I"), ("lowestSetBit", "I"), ("signum", "I"),
        ("magnitude", "[B"),
    ], "java.lang.Number"),
    class("java.net.URI", -6052424284110960213, 0x03, &[("string", "Ljava/lang/String;")], ""),
    class("java.net.URL", -7627629688361524110, 0x03, &[
        ("hashCode", "I"), ("port", "I"), ("authority", "Ljava/lang/String;"), ("file", "Ljava/lang/String;"),
        ("host", "Ljava/lang/String;"), ("protocol", "Ljava/lang/String;"), ("ref", "Ljava/lang/String;"),
    ], ""),
    class("java.sql.Timestamp", 2745179027874758501, 0x02, &[("nanos", "I")], "java.util.Date"),
    class("java.time.Ser", -7683839454370182990, 0x0c, &[], ""),
    class("java.util.ArrayDeque", 2340985798034038923, 0x03, &[], ""),
    class("java.util.ArrayList", 8683452581122892189, 0x03, &[("size", "I")], ""),
    class("java.util.Arrays$ArrayList", -2764017481108945198, 0x02, &[("a", "[Ljava/lang/Object;")], ""),
    class("java.util.Calendar", -1807547505821590642, 0x03, &[
        ("areFieldsSet", "Z"), ("firstDayOfWeek", "I"), ("isTimeSet", "Z"), ("lenient", "Z"),
        ("minimalDaysInFirstWeek", "I"), ("nextStamp", "I"), ("serialVersionOnStream", "I"), ("time", "J"),
        ("fields", "[I"), ("isSet", "[Z"), ("zone", "Ljava/util/TimeZone;"),
    ], ""),
    class("java.util.CollSer", 6309168927139932177, 0x03, &[("tag", "I")], ""),
    class("java.util.Collections$EmptyList", 8842843931221139166, 0x02, &[], ""),
    class("java.util.Collections$SingletonList", 3093736618740652951, 0x02, &[("element", "Ljava/lang/Object;")], ""),
    class("java.util.Collections$SynchronizedMap", 1978198479659022715, 0x03, &[
        ("m", "Ljava/util/Map;"), ("mutex", "Ljava/lang/Object;"),
    ], ""),
    class("java.util.Collections$UnmodifiableCollection", 1820017752578914078, 0x02, &[
        ("c", "Ljava/util/Collection;"),
    ], ""),
    class("java.util.Collections$UnmodifiableList", -283967356065247728, 0x02, &[
        ("list", "Ljava/util/List;"),
    ], "java.util.Collections$UnmodifiableCollection"),
    class("java.util.Collections$UnmodifiableMap", -1034234728574286014, 0x02, &[("m", "Ljava/util/Map;")], ""),
    class("java.util.Date", 7523967970034938905, 0x03, &[], ""),
    class("java.util.EnumMap", 458661240069192865, 0x03, &[("keyType", "Ljava/lang/Class;")], ""),
    class("java.util.EnumSet$SerializationProxy", 362491234563181265, 0x02, &[
        ("elementType", "Ljava/lang/Class;"), ("elements", "[Ljava/lang/Enum;"),
    ], ""),
    class("java.util.GregorianCalendar", -8125100834729963327, 0x02, &[
        ("gregorianCutover", "J"),
    ], "java.util.Calendar"),
    class("java.util.HashMap", 362498820763181265, 0x03, &[("loadFactor", "F"), ("threshold", "I")], ""),
    class("java.util.HashSet", -5024744406713321676, 0x03, &[], ""),
    class("java.util.Hashtable", 1421746759512286392, 0x03, &[("loadFactor", "F"), ("threshold", "I")], ""),
    class("java.util.LinkedHashMap", 3801124242820219131, 0x02, &[("accessOrder", "Z")], "java.util.HashMap"),
    class("java.util.LinkedHashSet", -2851667679971038690, 0x02, &[], "java.util.HashSet"),
    class("java.util.LinkedList", 876323262645176354, 0x03, &[], ""),
    class("java.util.Locale", 9149081749638150636, 0x03, &[
        ("hashcode", "I"), ("country", "Ljava/lang/String;"), ("extensions", "Ljava/lang/String;"),
        ("language", "Ljava/lang/String;"), ("script", "Ljava/lang/String;"), ("variant", "Ljava/lang/String;"),
    ], ""),
    class("java.util.Properties", 4112578634029874840, 0x02, &[
        ("defaults", "Ljava/util/Properties;"),
    ], "java.util.Hashtable"),
    class("java.util.SimpleTimeZone", -403250971215465050, 0x03, &[
        ("dstSavings", "I"), ("endDay", "I"), ("endDayOfWeek", "I"), ("endMode", "I"), ("endMonth", "I"),
        ("endTime", "I"), ("endTimeMode", "I"), ("rawOffset", "I"), ("serialVersionOnStream", "I"),
        ("startDay", "I"), ("startDayOfWeek", "I"), ("startMode", "I"), ("startMonth", "I"), ("startTime", "I"),
        ("startTimeMode", "I"), ("startYear", "I"), ("useDaylight", "Z"), ("monthLength", "[B"),
    ], "java.util.TimeZone"),
    class("java.util.TimeZone", 3581463369166924961, 0x02, &[("ID", "Ljava/lang/String;")], ""),
    class("java.util.TreeMap", 919286545866124006, 0x03, &[("comparator", "Ljava/util/Comparator;")], ""),
    class("java.util.TreeSet", -2479143000061671589, 0x03, &[], ""),
    class("java.util.UUID", -4856846361193249489, 0x02, &[("leastSigBits", "J"), ("mostSigBits", "J")], ""),
    class("java.util.Vector", -2767605614048989439, 0x03, &[
        ("capacityIncrement", "I"), ("elementCount", "I"), ("elementData", "[Ljava/lang/Object;"),
    ], ""),
    class("java.util.concurrent.ConcurrentHashMap", 7249069246763182397, 0x03, &[
        ("segmentMask", "I"), ("segmentShift", "I"),
        ("segments", "[Ljava/util/concurrent/ConcurrentHashMap$Segment;"),
    ], ""),
    class("java.util.concurrent.ConcurrentHashMap$Segment", 2249069246763182397, 0x02, &[
        ("loadFactor", "F"),
    ], "java.util.concurrent.locks.ReentrantLock"),
    class("java.util.concurrent.CopyOnWriteArrayList", 8673264195747942595, 0x03, &[], ""),
    class("java.util.concurrent.atomic.AtomicInteger", 6214790243416807050, 0x02, &[
        ("value", "I"),
    ], "java.lang.Number"),
    class("java.util.concurrent.atomic.AtomicLong", 1927816293512124184, 0x02, &[("value", "J")], "java.lang.Number"),
    class("java.util.concurrent.locks.AbstractOwnableSynchronizer", 3737899427754241961, 0x02, &[], ""),
    class("java.util.concurrent.locks.AbstractQueuedSynchronizer", 7373984972572414691, 0x02, &[
        ("state", "I"),
    ], "java.util.concurrent.locks.AbstractOwnableSynchronizer"),
    class("java.util.concurrent.locks.ReentrantLock", 7373984872572414699, 0x02, &[
        ("sync", "Ljava/util/concurrent/locks/ReentrantLock$Sync;"),
    ], ""),
    class("java.util.concurrent.locks.ReentrantLock$NonfairSync", 7316153563782823691, 0x02, &[
       
    ], "java.util.concurrent.locks.ReentrantLock$Sync"),
    class("java.util.concurrent.locks.ReentrantLock$Sync", -5179523762034025860, 0x02, &[
       
    ], "java.util.concurrent.locks.AbstractQueuedSynchronizer"),
    class("org.apache.catalina.authenticator.SavedRequest", 1, 0x02, &[
        ("body", "Lorg/apache/tomcat/util/buf/ByteChunk;"), ("contentType", "Ljava/lang/String;"),
        ("cookies", "Ljava/util/List;"), ("decodedRequestURI", "Ljava/lang/String;"),
        ("headers", "Ljava/util/Map;"), ("locales", "Ljava/util/List;"), ("method", "Ljava/lang/String;"),
        ("originalMaxInactiveInterval", "Ljava/lang/Integer;"), ("queryString", "Ljava/lang/String;"),
        ("requestURI", "Ljava/lang/String;"),
    ], ""),
    class("org.apache.catalina.authenticator.SingleSignOnEntry", 1, 0x03, &[
        ("canReauthenticate", "Z"), ("authType", "Ljava/lang/String;"), ("password", "Ljava/lang/String;"),
        ("sessionKeys", "Ljava/util/Map;"), ("username", "Ljava/lang/String;"),
    ], ""),
    class("org.apache.catalina.authenticator.SingleSignOnListener", 1, 0x02, &[("ssoId", "Ljava/lang/String;")], ""),
    class("org.apache.catalina.authenticator.SingleSignOnSessionKey", 1, 0x02, &[
        ("contextName", "Ljava/lang/String;"), ("hostName", "Ljava/lang/String;"),
        ("sessionId", "Ljava/lang/String;"),
    ], ""),
    class("org.apache.catalina.ha.ClusterMessageBase", 1, 0x02, &[("timestamp", "J")], ""),
    class("org.apache.catalina.ha.authenticator.ClusterSingleSignOnListener", 1, 0x02, &[
       
    ], "org.apache.catalina.authenticator.SingleSignOnListener"),
    class("org.apache.catalina.ha.deploy.FileMessage", 2, 0x02, &[
        ("dataLength", "I"), ("messageNumber", "I"), ("totalNrOfMsgs", "J"), ("contextName", "Ljava/lang/String;"),
        ("data", "[B"), ("fileName", "Ljava/lang/String;"),
    ], "org.apache.catalina.ha.ClusterMessageBase"),
    class("org.apache.catalina.ha.deploy.UndeployMessage", 2, 0x02, &[
        ("timestamp", "J"), ("address", "Lorg/apache/catalina/tribes/Member;"),
        ("contextName", "Ljava/lang/String;"), ("uniqueId", "Ljava/lang/String;"),
    ], ""),
    class("org.apache.catalina.ha.session.DeltaSession", 296450023228352885, 0x0c, &[
       
    ], "org.apache.catalina.session.StandardSession"),
    class("org.apache.catalina.ha.session.SessionMessageImpl", 2, 0x02, &[
        ("mEvtType", "I"), ("serializationTimestamp", "J"), ("timestampSet", "Z"),
        ("mContextName", "Ljava/lang/String;"), ("mSession", "[B"), ("mSessionID", "Ljava/lang/String;"),
        ("uniqueId", "Ljava/lang/String;"),
    ], "org.apache.catalina.ha.ClusterMessageBase"),
    class("org.apache.catalina.realm.GenericPrincipal$SerializablePrincipal", 1, 0x02, &[
        ("attributes", "Ljava/util/Map;"), ("name", "Ljava/lang/String;"),
        ("principal", "Ljava/security/Principal;"), ("roles", "[Ljava/lang/String;"),
    ], ""),
    class("org.apache.catalina.session.StandardSession", 1, 0x02, &[
        ("creationTime", "J"), ("isNew", "Z"), ("isValid", "Z"), ("lastAccessedTime", "J"),
        ("maxInactiveInterval", "I"), ("thisAccessedTime", "J"),
        ("attributes", "Ljava/util/concurrent/ConcurrentMap;"), ("id", "Ljava/lang/String;"),
    ], ""),
    class("org.apache.catalina.tribes.group.RpcMessage", 8154458786660410633, 0x0c, &[], ""),
    class("org.apache.catalina.tribes.membership.MemberImpl", -8901659902996040089, 0x0c, &[], ""),
    class("org.apache.catalina.tribes.membership.StaticMember", -6690656311635953503, 0x0c, &[
       
    ], "org.apache.catalina.tribes.membership.MemberImpl"),
    class("org.apache.catalina.tribes.membership.StaticMembershipProvider$MemberMessage", 1, 0x02, &[
        ("msgtype", "I"), ("member", "Lorg/apache/catalina/tribes/Member;"), ("membershipId", "[B"),
    ], ""),
    class("org.apache.catalina.tribes.tipis.AbstractReplicatedMap$MapMessage", 1, 0x02, &[
        ("diff", "Z"), ("msgtype", "I"), ("diffvalue", "[B"), ("keydata", "[B"), ("mapId", "[B"),
        ("nodes", "[Lorg/apache/catalina/tribes/Member;"), ("primary", "Lorg/apache/catalina/tribes/Member;"),
        ("valuedata", "[B"),
    ], ""),
    class("org.apache.tomcat.util.buf.AbstractChunk", 1, 0x02, &[
        ("end", "I"), ("hasHashCode", "Z"), ("hashCode", "I"), ("isSet", "Z"), ("limit", "I"), ("start", "I"),
    ], ""),
    class("org.apache.tomcat.util.buf.ByteChunk", 1, 0x03, &[
        ("buff", "[B"),
    ], "org.apache.tomcat.util.buf.AbstractChunk"),
    class("sun.util.calendar.ZoneInfo", 2653134537216586139, 0x02, &[
        ("checksum", "I"), ("dstSavings", "I"), ("rawOffset", "I"), ("rawOffsetDiff", "I"),
        ("willGMTOffsetChange", "Z"), ("offsets", "[I"), ("simpleTimeZoneParams", "[I"), ("transitions", "[J"),
    ], "java.util.TimeZone"),
];

#[cfg(test)]
mod tests {
    use super::{CATALOGUE, known};

    #[test]
    fn the_catalogue_is_sorted_and_complete_in_superclasses() {
        assert!(CATALOGUE.is_sorted_by_key(|known| known.name));
        for class in CATALOGUE {
            assert!(
                known(class.name.as_bytes()).is_some_and(|found| found.uid == class.uid),
                "{}",
                class.name
            );
            assert!(
                class.superclass.is_empty() || known(class.superclass.as_bytes()).is_some(),
                "{}",
                class.name
            );
            let objects = |signature: &str| matches!(signature.as_bytes(), [b'L' | b'[', ..]);
            let key = |&(name, signature): &(&'static str, &str)| (objects(signature), name);
            assert!(class.fields.is_sorted_by_key(key), "{}", class.name);
        }
    }
}
