#![no_main]
tower_response_cache_fuzz::target!(wire);
