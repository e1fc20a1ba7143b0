"""The one reader of annotations: whatever comes in as COCO file, results, label set or export is read here."""
