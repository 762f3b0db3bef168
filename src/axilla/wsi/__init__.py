"""From slides and annotations to regions, patches and bags."""
