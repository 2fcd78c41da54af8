"""oche behind other libraries' faces: joblib's backends, multiprocessing's Pool."""
