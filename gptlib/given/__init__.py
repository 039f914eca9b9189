"""Given, not built: what chapters use and no chapter explains.

Argument checks (`checks`), files that are written whole (`files`), what is asked of a model
(`models`), figures (`plots`), what was measured beforehand (`records`), notebooks (`notebook`),
downloads (`download`) and Unicode's letters (`unicode16`). It imports nothing of the course.
"""
