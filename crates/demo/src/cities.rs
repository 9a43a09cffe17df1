//! The cities of the stores.

/// A city with its administrative region code (GB/T 2260) and its share of the stores.
pub(super) struct City {
    pub(super) region: &'static str,
    pub(super) name: &'static str,
    pub(super) weight: i64,
}

const fn city(region: &'static str, name: &'static str, weight: i64) -> City {
    City { region, name, weight }
}

/// Larger cities have more stores, and so have cities of the Yangtze delta.
pub(super) const CITIES: [City; 40] = [
    city("310000", "Shanghai", 100),
    city("330100", "Hangzhou", 90),
    city("110000", "Beijing", 70),
    city("440100", "Guangzhou", 60),
    city("440300", "Shenzhen", 60),
    city("320500", "Suzhou", 55),
    city("320100", "Nanjing", 50),
    city("510100", "Chengdu", 50),
    city("420100", "Wuhan", 40),
    city("330200", "Ningbo", 36),
    city("500000", "Chongqing", 36),
    city("610100", "Xi'an", 30),
    city("430100", "Changsha", 30),
    city("320200", "Wuxi", 28),
    city("120000", "Tianjin", 24),
    city("340100", "Hefei", 22),
    city("350100", "Fuzhou", 20),
    city("350200", "Xiamen", 20),
    city("370200", "Qingdao", 20),
    city("410100", "Zhengzhou", 20),
    city("330300", "Wenzhou", 18),
    city("330400", "Jiaxing", 16),
    city("330600", "Shaoxing", 16),
    city("330700", "Jinhua", 14),
    city("320400", "Changzhou", 14),
    city("320600", "Nantong", 14),
    city("370100", "Jinan", 14),
    city("440600", "Foshan", 14),
    city("441900", "Dongguan", 14),
    city("210100", "Shenyang", 12),
    city("210200", "Dalian", 12),
    city("360100", "Nanchang", 10),
    city("530100", "Kunming", 10),
    city("450100", "Nanning", 8),
    city("520100", "Guiyang", 8),
    city("140100", "Taiyuan", 6),
    city("220100", "Changchun", 6),
    city("230100", "Harbin", 6),
    city("460100", "Haikou", 4),
    city("620100", "Lanzhou", 4),
];

/// Parts of a town, for the names of stores.
pub(super) const PLACES: [&str; 16] = [
    "Old Town",
    "Station",
    "Riverside",
    "Library",
    "Arcade",
    "North Gate",
    "Market",
    "Lakeside",
    "Campus",
    "South Gate",
    "Stadium",
    "Museum",
    "Harbour",
    "Tower",
    "Garden",
    "Theatre",
];
