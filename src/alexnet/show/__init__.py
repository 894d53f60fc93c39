"""Figures, drawn with matplotlib from plain data: arrays, records, files.

Each function below returns a matplotlib Figure; `style.save_figure(figure, path)` writes it as PNG
or SVG by the suffix of the path, `style.encode_figure(figure, "svg")` returns the bytes.

    neighbors.draw_neighbors(queries, neighbors, *, query_labels, neighbor_labels, distances, title)
    predictions.draw_predictions(images, predictions, *, truths, columns, total, title)
    kernels.draw_kernels(weights, towers, *, title)
    curves.draw_curves(log, *, title)                 log: curves.read_log(RUN / "log.jsonl")
    curves.draw_training_errors(curves, *, finish, start, title)
    classes.draw_confusion(confusion, classes, *, title)
    classes.draw_class_scores(scores, classes, *, title)
    augmentation.draw_augmented(original, augmented, views, *, crop, title)
    heat_maps.draw_heat_maps(images, labels, gradient_maps, occlusion_maps, *, …)
    heat_maps.overlay_map(axes, image, heat)
    feature_map.draw_feature_map(points, labels, classes, *, title)

`figures` puts them together for a run. It is what a report uses:

    figures.iterate_figures(run, pack=None, *, only=(), split=None, device="auto", progress=None)
        yields DrawnFigure(name, title, explanation, figure, skipped, path): `figure` is None and
        `skipped` says why if its data is missing; nothing is written
    figures.draw_figures(run, folder=None, *, format="png", on_drawn=None, **options)
        writes them into files and returns them, with `path`

`style` has what they share: sizes, the colors of Okabe and Ito, labels that are escaped and cut to
the width that there is. The drawing modules know neither networks nor trainings; what has to be
computed comes from `explaining`, and `figures` alone calls it. Only commands, the report and the
page import this folder.
"""
